//! Whose pages: an origin as a browser sends it against those that are written.

use crate::config::model::OriginPattern;

/// `cors.origins` of a route.
#[derive(Debug)]
pub(super) struct Origins {
    any: bool,
    all: Box<[OriginPattern]>,
}

impl Origins {
    /// As checked.
    pub(super) fn new(all: &[OriginPattern]) -> Self {
        Self { any: all.contains(&OriginPattern::Any), all: all.into() }
    }

    /// Whether every origin is allowed, and those without one.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether pages of this origin are. Schemes and hosts in any case; a port as it is, since a browser leaves out the
    /// one that a scheme implies.
    pub(super) fn allow(&self, origin: &[u8]) -> bool {
        self.any || self.all.iter().any(|pattern| is(pattern, origin))
    }
}

fn is(pattern: &OriginPattern, origin: &[u8]) -> bool {
    match pattern {
        OriginPattern::Any => true,
        OriginPattern::Exact(exact) => exact.as_bytes().eq_ignore_ascii_case(origin),
        OriginPattern::Subdomains { before, behind } => {
            let (before, behind) = (before.as_bytes(), behind.as_bytes());
            let between = origin.len().checked_sub(behind.len()).and_then(|end| {
                let fits = origin[end..].eq_ignore_ascii_case(behind);
                let start = origin.get(..before.len())?.eq_ignore_ascii_case(before);
                origin.get(before.len()..end).filter(|_| fits && start)
            });
            between.is_some_and(|labels| labels.split(|byte| *byte == b'.').all(is_label))
        }
    }
}

/// Part of a host's name, so that nothing else hides before the domain that is trusted: no user, port or path.
fn is_label(label: &[u8]) -> bool {
    !label.is_empty()
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
