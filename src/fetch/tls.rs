//! TLS towards a server of the control plane: whom to believe, and what to show.

use std::sync::Arc;

use hyper_rustls::{
    ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::Capped;
use crate::config::{Key, Secret, Table};

/// How a server is spoken to under `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether the scheme is `https`; nothing else here matters when it is not.
    pub on: bool,
    /// Certificates to believe, PEM; none means the system's.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate chain and its key, PEM.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// The name the server's certificate must hold; none means the address's.
    pub server_name: Option<String>,
    /// Whether the server's certificate is checked at all.
    pub verify: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { on: false, ca: None, identity: None, server_name: None, verify: true }
    }
}

/// The keys of `tls = { … }` in the table of what speaks to it.
const KEYS: [Key; 5] = [
    Key::new("tls.ca", "path", "", "certificates to believe; default: the system's"),
    Key::new("tls.certificate", "path", "", "the client's own, with tls.key"),
    Key::new("tls.key", "path", "", "the client certificate's key"),
    Key::new("tls.server_name", "string", "", "what the server's certificate must name"),
    Key::new("tls.verify", "boolean", "true", "whether the server's certificate is checked"),
];

/// A kind's own keys and those of its `tls`.
pub const fn and<const OWN: usize, const ALL: usize>(own: [Key; OWN]) -> [Key; ALL] {
    assert!(ALL == OWN + KEYS.len());
    let mut all = [KEYS[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = if at < OWN { own[at] } else { KEYS[at - OWN] };
        at += 1;
    }
    all
}

/// What is wrong with a registry's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As written: `address`, `tls.ca`.
    pub key: &'static str,
    /// One line.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.key, self.message)
    }
}

impl std::error::Error for Problem {}

/// One that is wrong with the value of a key.
pub fn problem(key: &'static str, why: impl std::fmt::Display) -> Problem {
    Problem { key, message: why.to_string() }
}

impl Settings {
    /// Reads `tls = { … }` of a registry's table; problems are reported there.
    pub fn read(table: &mut Table<'_>) -> Self {
        table.table("tls").map(|mut table| Self::read_table(&mut table)).unwrap_or_default()
    }

    fn read_table(table: &mut Table<'_>) -> Self {
        let ca = table.contents("ca");
        let (certificate, key) = (table.contents("certificate"), table.contents("key"));
        if table.has("certificate") != table.has("key") {
            let written = if table.has("key") { "key" } else { "certificate" };
            table.problem(written, "`tls.certificate` and `tls.key` go together", None::<String>);
        }
        let key = key.and_then(|bytes| {
            let text = String::from_utf8(bytes).ok();
            if text.is_none() {
                table.problem("key", "`tls.key` holds no PEM", None::<String>);
            }
            text.map(Secret::new)
        });
        Self {
            ca,
            identity: certificate.zip(key),
            server_name: table.text("server_name"),
            verify: table.flag("verify").unwrap_or(true),
            ..Self::default()
        }
    }

    /// What connections are made with. A problem when what these settings name cannot be used.
    pub fn prepare(&self) -> Result<Prepared, Problem> {
        let name = self.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = name.map_err(|e| problem("tls.server_name", e))?;
        Ok(Prepared { client: self.client()?, server_name })
    }

    fn client(&self) -> Result<ClientConfig, Problem> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| problem("tls", e))?;
        let builder = if !self.verify {
            let unchecked = Arc::new(Unchecked(provider));
            builder.dangerous().with_custom_certificate_verifier(unchecked)
        } else if let Some(pem) = &self.ca {
            builder.with_root_certificates(roots(pem)?)
        } else if self.on {
            builder.with_native_roots().map_err(|e| problem("tls", e))?
        } else {
            builder.with_root_certificates(RootCertStore::empty())
        };
        let Some((chain, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("tls.certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
            .map_err(|e| problem("tls.key", e))?;
        builder.with_client_auth_cert(chain, key).map_err(|e| problem("tls.certificate", e))
    }
}

/// Settings that were found good, with the certificates they name.
#[derive(Clone, Debug)]
pub struct Prepared {
    client: ClientConfig,
    server_name: Option<ServerName<'static>>,
}

impl Prepared {
    /// Makes connections as the settings say.
    pub fn connector(&self, tcp: Capped) -> HttpsConnector<Capped> {
        let mut client = self.client.clone();
        // Clones would share what sessions they keep, behind a lock.
        client.resumption = Resumption::default();
        let builder = HttpsConnectorBuilder::new().with_tls_config(client).https_or_http();
        let builder = match &self.server_name {
            Some(name) => {
                builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone()))
            }
            None => builder,
        };
        builder.enable_http1().wrap_connector(tcp)
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Problem> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("tls.ca", pem)? {
        store.add(certificate).map_err(|e| problem("tls.ca", e))?;
    }
    Ok(store)
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| problem(key, e))?;
    if found.is_empty() { Err(problem(key, "holds no certificate")) } else { Ok(found) }
}

/// `verify = false`: whoever answers is believed, but must still prove that it holds the key it shows.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
