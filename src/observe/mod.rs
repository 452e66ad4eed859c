//! What happened: looks, never touches.

mod control;
mod histogram;
pub mod metric;
pub mod numbers;
mod page;
mod process;
mod refusals;
mod tally;

pub use control::{Handle, install};
pub use histogram::Buckets;
pub use numbers::{RouteNumbers, Totals};
pub use page::{CONTENT_TYPE, Family, Labels, Page};
pub use process::write as write_process;

pub use refusals::Refusals;
