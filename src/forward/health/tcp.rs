//! Somebody listens.

use super::attend::Bad;
use crate::forward::connect::dial;
use crate::forward::instance::Instance;

/// Makes a connection and closes it.
pub(super) async fn ask(instance: &Instance) -> Result<(), Bad> {
    dial(instance).await.map(drop).map_err(|error| Bad::connect(&error))
}
