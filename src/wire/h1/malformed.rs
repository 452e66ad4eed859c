//! Every way a head or a body can break the rules, with the rule's place in the standards.

/// A broken rule. Whatever two parsers could read differently is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The beginning of a TLS handshake.
    Tls,
    /// A line that does not end in CRLF.
    BareLf,
    /// An empty line where a head should begin.
    BlankLine,
    /// A request line that is not `method SP target SP version`.
    RequestLine,
    /// A status line that is not `version SP 3DIGIT SP reason`.
    StatusLine,
    /// A method that is not a token.
    Method,
    /// CONNECT.
    Connect,
    /// A version other than HTTP/1.1 and HTTP/1.0.
    Version,
    /// A target that is not in a form its method takes.
    TargetForm,
    /// A character that a target may not hold.
    TargetCharacter,
    /// A percent sign without two hexadecimal digits, or an encoded NUL.
    TargetEscape,
    /// `.` or `..` as a segment, also encoded.
    DotSegment,
    /// A target longer than the limit.
    TargetTooLong,
    /// A head larger than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// A folded line.
    ObsFold,
    /// A field line without a colon.
    NoColon,
    /// Space between a field name and its colon.
    SpaceBeforeColon,
    /// A field name that is not a token.
    FieldName,
    /// A control character in a field value.
    FieldValue,
    /// HTTP/1.1 without Host.
    NoHost,
    /// More than one Host.
    TwoHosts,
    /// A Host that is not `uri-host[:port]`.
    Host,
    /// Both framings at once.
    LengthAndCoding,
    /// A content-length that is not one number.
    Length,
    /// More than one content-length.
    RepeatedLength,
    /// A transfer-encoding other than one `chunked`.
    Coding,
    /// A transfer-encoding in HTTP/1.0.
    CodingInOldVersion,
    /// An expectation other than 100-continue.
    Expectation,
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize,
    /// A chunk extension longer than 256 bytes or with control characters.
    ChunkExtension,
    /// A chunk that does not end in CRLF.
    ChunkEnd,
    /// Trailers larger than the limit for heads.
    TrailersTooLarge,
    /// A switch of protocols that was not asked for, or not to what was asked for.
    Unasked,
    /// More interim answers than one request may get.
    TooManyInterims,
}

/// What a broken rule means for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 400.
    Bad,
    /// 405.
    Method,
    /// 414.
    Target,
    /// 431.
    Fields,
    /// 505.
    Version,
    /// 417.
    Expectation,
}

impl Malformed {
    /// Every rule there is.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.into_iter().map(|(malformed, _, _)| malformed)
    }

    /// What it means for the answer.
    pub fn fault(self) -> Fault {
        self.entry().0
    }

    /// The rule in one line, with the section it comes from.
    pub fn rule(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (Fault, &'static str) {
        let (_, fault, rule) = TABLE[self as usize];
        (fault, rule)
    }
}

/// Every rule in the order of the variants: what it means for the answer, and where it comes from.
const TABLE: [(Malformed, Fault, &str); 35] = [
    (
        Malformed::Tls,
        Fault::Bad,
        "this is TLS (RFC 8446 section 5.1), and plain HTTP is spoken here",
    ),
    (Malformed::BareLf, Fault::Bad, "lines end in CRLF (RFC 9112 section 2.2)"),
    (
        Malformed::BlankLine,
        Fault::Bad,
        "a request begins with its request line (RFC 9112 section 2.2)",
    ),
    (
        Malformed::RequestLine,
        Fault::Bad,
        "the request line is not method, target and version (RFC 9112 section 3)",
    ),
    (
        Malformed::StatusLine,
        Fault::Bad,
        "the status line is not version, status and reason (RFC 9112 section 4)",
    ),
    (Malformed::Method, Fault::Bad, "the method is not a token (RFC 9112 section 3.1)"),
    (Malformed::Connect, Fault::Method, "CONNECT is not taken here (RFC 9110 section 9.3.6)"),
    (
        Malformed::Version,
        Fault::Version,
        "only HTTP/1.1 and HTTP/1.0 are spoken here (RFC 9112 section 2.3)",
    ),
    (
        Malformed::TargetForm,
        Fault::Bad,
        "the target is not in a form this method takes (RFC 9112 section 3.2)",
    ),
    (
        Malformed::TargetCharacter,
        Fault::Bad,
        "the target holds a character it may not (RFC 3986 section 2)",
    ),
    (
        Malformed::TargetEscape,
        Fault::Bad,
        "the target holds a bad percent escape (RFC 3986 section 2.1)",
    ),
    (Malformed::DotSegment, Fault::Bad, "the path holds a dot segment (RFC 3986 section 5.2.4)"),
    (Malformed::TargetTooLong, Fault::Target, "the target is too long (RFC 9110 section 15.5.15)"),
    (Malformed::HeadTooLarge, Fault::Fields, "the head is too large (RFC 6585 section 5)"),
    (Malformed::TooManyFields, Fault::Fields, "the head has too many fields (RFC 6585 section 5)"),
    (Malformed::ObsFold, Fault::Bad, "a header line is folded (RFC 9112 section 5.2)"),
    (Malformed::NoColon, Fault::Bad, "a header line has no colon (RFC 9112 section 5)"),
    (
        Malformed::SpaceBeforeColon,
        Fault::Bad,
        "space before a header's colon (RFC 9112 section 5.1)",
    ),
    (Malformed::FieldName, Fault::Bad, "a header name is not a token (RFC 9110 section 5.1)"),
    (
        Malformed::FieldValue,
        Fault::Bad,
        "a header value holds a control character (RFC 9110 section 5.5)",
    ),
    (Malformed::NoHost, Fault::Bad, "HTTP/1.1 without Host (RFC 9112 section 3.2)"),
    (Malformed::TwoHosts, Fault::Bad, "more than one Host (RFC 9112 section 3.2)"),
    (
        Malformed::Host,
        Fault::Bad,
        "Host is not a host with an optional port (RFC 9110 section 7.2)",
    ),
    (
        Malformed::LengthAndCoding,
        Fault::Bad,
        "content-length beside transfer-encoding (RFC 9112 section 6.1)",
    ),
    (Malformed::Length, Fault::Bad, "content-length is not a number (RFC 9112 section 6.3)"),
    (Malformed::RepeatedLength, Fault::Bad, "more than one content-length (RFC 9112 section 6.3)"),
    (Malformed::Coding, Fault::Bad, "transfer-encoding is not one chunked (RFC 9112 section 6.1)"),
    (
        Malformed::CodingInOldVersion,
        Fault::Bad,
        "transfer-encoding in HTTP/1.0 (RFC 9112 section 6.1)",
    ),
    (
        Malformed::Expectation,
        Fault::Expectation,
        "only 100-continue can be expected (RFC 9110 section 10.1.1)",
    ),
    (
        Malformed::ChunkSize,
        Fault::Bad,
        "a chunk size is not a hexadecimal number (RFC 9112 section 7.1)",
    ),
    (
        Malformed::ChunkExtension,
        Fault::Bad,
        "a chunk extension is too long or malformed (RFC 9112 section 7.1.1)",
    ),
    (Malformed::ChunkEnd, Fault::Bad, "a chunk does not end in CRLF (RFC 9112 section 7.1)"),
    (
        Malformed::TrailersTooLarge,
        Fault::Bad,
        "the trailers are too large (RFC 9112 section 7.1.2)",
    ),
    (
        Malformed::Unasked,
        Fault::Bad,
        "a switch of protocols nobody asked for (RFC 9110 section 7.8)",
    ),
    (
        Malformed::TooManyInterims,
        Fault::Bad,
        "too many interim answers before the answer (RFC 9110 section 15.2)",
    ),
];

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn every_rule_stands_in_its_place_and_names_its_section() {
        for (at, (malformed, _, rule)) in TABLE.into_iter().enumerate() {
            assert_eq!(malformed as usize, at, "{malformed:?}");
            assert!(rule.contains("(RFC ") && rule.contains(" section "), "{malformed:?}: {rule}");
        }
    }
}
