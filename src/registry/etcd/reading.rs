//! All keys of the prefix, page by page, as they were at one revision.

use std::time::Duration;

use super::Core;
use super::cluster::{Failure, No, PROMPT};
use super::json::{self, Page};
use super::tree::{Changes, KEYS, Tree};

/// Keys of a page.
const PAGE: usize = 2_000;
/// Bound on them all.
const ALL: Duration = Duration::from_secs(30);
/// Readings that compaction may overtake, one after the other.
const TRIES: usize = 3;

/// The whole prefix.
pub(super) struct Reading {
    pub(super) tree: Tree,
    pub(super) changes: Changes,
    /// What it is as of.
    pub(super) revision: i64,
}

/// Reads everything from one member.
pub(super) async fn all(core: &Core, member: usize) -> Result<Reading, Failure> {
    let mut tries = 1;
    loop {
        let reading = tokio::time::timeout(ALL, pages(core, member)).await;
        let late = |_| core.cluster.broken(member, &format!("not all keys within {ALL:?}"));
        match reading.map_err(late)? {
            // History was cut off between two pages.
            Err(Failure::Cluster(No::Compacted, _)) if tries < TRIES => tries += 1,
            reading => return reading,
        }
    }
}

async fn pages(core: &Core, member: usize) -> Result<Reading, Failure> {
    let broken = |why: &str| core.cluster.broken(member, why);
    let (mut from, end) = core.prefix.range();
    let mut reading = Reading { tree: Tree::default(), changes: Changes::default(), revision: 0 };
    let mut keys = 0;
    loop {
        let body = json::range(&from, &end, reading.revision, PAGE);
        let body = core.cluster.ask_member(member, "/v3/kv/range", body, PROMPT).await?;
        let Page { header, kvs, more, count } = json::read(&body).map_err(|why| broken(&why))?;
        if header.revision <= 0 {
            return Err(broken("the answer names no revision"));
        }
        if reading.revision == 0 {
            reading.revision = header.revision;
        }
        keys += kvs.len();
        // Said on the first page: the others need not be asked for.
        if keys > KEYS || usize::try_from(count).is_ok_and(|count| count > KEYS) {
            return Err(core.too_much());
        }
        let last = kvs.last().map(|pair| pair.key.clone());
        for pair in kvs {
            reading.tree.put(&core.prefix, pair, &mut reading.changes);
        }
        if reading.changes.full {
            return Err(core.too_much());
        }
        match last {
            _ if !more => return Ok(reading),
            // A short page that is not the last one would let a server answer for ever.
            Some(last) if last >= from && keys % PAGE == 0 => {
                from = last;
                from.push(0);
            }
            Some(_) | None => return Err(broken("its pages do not go on")),
        }
    }
}
