//! `/services/{name}/instances/{address}/drain` and `restore`: takes an instance out by hand, and back.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};

use super::answer::{Answer, Refused};
use super::{Admin, Peer, services};
use crate::config::units::{parse_duration, show_duration};

/// Nobody who means a longer time means a time.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Drain { lasts: Option<Duration> },
    Restore,
}

/// Answers with the instance as it is then. The name may be written with a slash or with `%2F`, the address as
/// `/services` shows it.
pub(super) async fn change(
    State(admin): State<Admin>,
    Extension(Peer(peer)): Extension<Peer>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    if !body.is_ok_and(|body| body.is_empty()) {
        return Err(Refused::Malformed(
            "this takes no body: the time goes into the query, `?for=10m`",
        ));
    }
    let Path(path) = path?;
    let (name, rest) = path.rsplit_once("/instances/").ok_or(Refused::Method("GET,HEAD"))?;
    let (address, verb) = rest.rsplit_once('/').ok_or(Refused::Method("GET,HEAD"))?;
    let Query(query) = query.map_err(|_| Refused::Malformed("the query is not valid"))?;
    let change = match verb {
        "drain" => Change::Drain { lasts: lasts(&query)? },
        "restore" if query.is_empty() => Change::Restore,
        "restore" => return Err(Refused::Malformed("restore takes no query")),
        _ => return Err(Refused::NotFound(format!("an instance has no {verb:?}"))),
    };
    let table = admin.world.table.borrow().clone();
    let service = table.services.iter().find(|service| service.config.name == name);
    let service =
        service.ok_or_else(|| Refused::NotFound(format!("there is no service {name:?}")))?;
    let set = service.set();
    let at = set.instances.iter().find(|one| one.place.to_string().eq_ignore_ascii_case(address));
    let instance = at.ok_or_else(|| {
        Refused::NotFound(format!("the service {name:?} has no instance {address:?}"))
    })?;
    match change {
        Change::Drain { lasts } => {
            service.drain(&instance.place, lasts, Instant::now());
            let lasts = lasts.map_or_else(|| "until restored".to_owned(), show_duration);
            tracing::info!(service = name, instance = %instance.place, by = %peer, lasts, "drained");
        }
        Change::Restore => {
            service.restore(&instance.place);
            tracing::info!(service = name, instance = %instance.place, by = %peer, "restored");
        }
    }
    Ok(Json(services::instance(&service.config, &instance.snapshot())))
}

/// Whether it is `{name}/instances/{address}/drain` or `restore`, which take a POST.
pub(super) fn is_address(path: &str) -> bool {
    let verb = path.rsplit_once("/instances/").and_then(|(_, rest)| rest.rsplit_once('/'));
    verb.is_some_and(|(_, verb)| matches!(verb, "drain" | "restore"))
}

/// What `for` says; none is until restored.
fn lasts(query: &[(String, String)]) -> Result<Option<Duration>, Refused> {
    match query {
        [] => Ok(None),
        [(key, value)] if key == "for" => match parse_duration(value) {
            Some(Duration::ZERO) => Err(Refused::Malformed("`for` must be longer than 0s")),
            Some(lasts) if lasts > LONGEST => Err(Refused::Malformed(
                "`for` is longer than a year; without it the instance stays out until restored",
            )),
            Some(lasts) => Ok(Some(lasts)),
            None => Err(Refused::Malformed("`for` must be a duration such as 90s, 10m or 1h30m")),
        },
        _ => Err(Refused::Malformed("drain takes `for` once, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_duration_that_somebody_can_mean() {
        let of = |pairs: &[(&str, &str)]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            lasts(&pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("for", "1m30s")]), Ok(Some(Duration::from_secs(90))));
        for bad in ["", "10", "-1s", "0s", "9999999d", "18446744073709551615ms", "10 m"] {
            assert!(matches!(of(&[("for", bad)]), Err(Refused::Malformed(_))), "{bad}");
        }
        for bad in [&[("fro", "10m")][..], &[("for", "1m"), ("for", "2m")]] {
            assert!(matches!(of(bad), Err(Refused::Malformed(_))), "{bad:?}");
        }
    }
}
