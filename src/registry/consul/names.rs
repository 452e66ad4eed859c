//! The catalog as one query wants it: names of services with a tag.

use std::sync::Arc;

use tokio::sync::watch;

use super::Core;
use super::feed::Catalog;
use crate::registry::{CatalogQuery, Names};

/// Ends when nobody listens any more.
pub(super) async fn run(core: Arc<Core>, query: CatalogQuery, names: watch::Sender<Arc<Names>>) {
    let mut catalog = core.feed.catalog.subscribe();
    let _listening = core.feed.listen_to_names(&core);
    loop {
        tokio::select! {
            changed = catalog.changed() => {
                if changed.is_err() {
                    return;
                }
                let chosen = Arc::new(choose(&catalog.borrow_and_update(), &query));
                names.send_if_modified(|before| {
                    let changed = *before != chosen;
                    *before = chosen;
                    changed
                });
            }
            () = names.closed() => {
                // Under the lock, so that nobody can subscribe to what is about to end.
                let mut catalogs = core.catalogs();
                if names.is_closed() {
                    catalogs.remove(&query);
                    return;
                }
            }
        }
    }
}

fn choose(catalog: &Catalog, query: &CatalogQuery) -> Names {
    let wanted = |tags: &[String]| match &query.tag {
        Some(tag) => tags.iter().any(|has| has.eq_ignore_ascii_case(tag)),
        None => true,
    };
    let chosen = catalog.services.iter().filter(|(_, tags)| wanted(tags));
    Names { services: chosen.map(|(name, _)| name.clone()).collect(), state: catalog.state.clone() }
}
