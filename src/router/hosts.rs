//! From a host to the paths served under it: exact names, wildcards longest first, then any.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv6Addr;

use super::Candidate;
use super::names::Names;
use super::paths::Paths;
use crate::config::model::HostPattern;

/// The hosts of one priority.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Names,
    suffix: Names,
    /// The lengths of the suffixes, each once, longest first: a client's long name costs no more lookups than these.
    suffix_lengths: Vec<usize>,
    any: Option<usize>,
    paths: Vec<Paths>,
}

impl Hosts {
    /// Offers what matches to `take`, best first, until it says that it took one.
    pub(super) fn offer(
        &self,
        host: &str,
        path: &str,
        take: &mut impl FnMut(Candidate) -> bool,
    ) -> bool {
        if let Some(at) = self.exact.find(&lower(host))
            && self.paths[at].offer(path, take)
        {
            return true;
        }
        for &length in &self.suffix_lengths {
            let Some(start) = host.len().checked_sub(length) else { continue };
            // At least one label stands before the dot, and where a dot is, a character begins.
            if start > 0
                && host.as_bytes()[start] == b'.'
                && let Some(at) = self.suffix.find(&lower(&host[start..]))
                && self.paths[at].offer(path, take)
            {
                return true;
            }
        }
        self.any.is_some_and(|at| self.paths[at].offer(path, take))
    }

    /// The paths under a host, made when there are none yet. `known` remembers what was made.
    pub(super) fn paths(
        &mut self,
        host: Option<&HostPattern>,
        known: &mut HashMap<Option<HostPattern>, usize>,
    ) -> &mut Paths {
        let next = self.paths.len();
        let host = host.map(plain_pattern);
        let at = *known.entry(host.clone()).or_insert(next);
        if at == next {
            self.paths.push(Paths::default());
            match host {
                None => self.any = Some(at),
                Some(HostPattern::Exact(name)) => self.exact.insert(name.bytes(), at),
                Some(HostPattern::Suffix(suffix)) => {
                    self.suffix.insert(suffix.bytes(), at);
                    self.suffix_lengths.push(suffix.len());
                    self.suffix_lengths.sort_unstable_by(|one, other| other.cmp(one));
                    self.suffix_lengths.dedup();
                }
            }
        }
        &mut self.paths[at]
    }

    /// Brings every list of candidates into order.
    pub(super) fn sort(&mut self) {
        self.paths.iter_mut().for_each(Paths::sort);
    }
}

/// A Host without port, brackets and final dot; its case is left. Copied only if it is an IPv6 address.
pub(super) fn plain(host: &str) -> Cow<'_, str> {
    if let Some(inside) = host.strip_prefix('[') {
        let address = inside.split_once(']').map_or(inside, |(address, _)| address);
        return one_spelling(address);
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    Cow::Borrowed(name.strip_suffix('.').unwrap_or(name))
}

/// `0:0::1` is `::1`.
fn one_spelling(address: &str) -> Cow<'_, str> {
    let parsed = address.parse::<Ipv6Addr>();
    parsed.map_or(Cow::Borrowed(address), |parsed| Cow::Owned(parsed.to_string()))
}

/// A written host as it is compared.
pub(super) fn plain_pattern(host: &HostPattern) -> HostPattern {
    let bare = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match host {
        HostPattern::Exact(name) => {
            let address = name.strip_prefix('[').map(|address| address.trim_end_matches(']'));
            HostPattern::Exact(one_spelling(&bare(address.unwrap_or(name))).into_owned())
        }
        HostPattern::Suffix(suffix) => HostPattern::Suffix(bare(suffix)),
    }
}

fn lower(host: &str) -> impl Iterator<Item = u8> + Clone {
    host.bytes().map(|byte| byte.to_ascii_lowercase())
}
