//! One suite over every registry by the same code: a real server, the gateway as a process, real backends behind it.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod coming;
mod front;
mod losing;
mod many;
mod measure;
mod outage;
mod own;
mod refused;
mod rolling;

use std::time::Duration;

/// Bound on what should take milliseconds, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(15);

/// Every theme for every registry, each a test of its own: `consul::comes_and_goes`.
macro_rules! suite {
    ($($kind:ident: $server:path,)*) => {
        $(mod $kind {
            use $server as Server;

            suite!(@theme Server, coming::comes_and_goes, coming::dies_without_a_word, coming::unknown_then_appears,
                coming::garbage_beside_good, coming::is_routed_by_name_while_it_is_there);
            suite!(@theme Server, losing::a_sudden_loss_is_held, losing::a_name_outlasts_the_loss_of_its_instances, losing::a_registry_that_comes_back_empty_is_not_believed);
            suite!(@theme Server, many::ten_thousand_instances, many::a_thousand_services);
            suite!(@theme Server, outage::restarted, outage::killed_for_thirty_seconds, outage::frozen_for_thirty_seconds,
                outage::down_at_the_start);
            suite!(@theme Server, own::registers_itself);
            suite!(@theme Server, refused::wrong_credentials);
            suite!(@theme Server, rolling::all_are_replaced);
            suite!(@measured Server, delay, idle, rolling);
        })*
    };
    (@measured $server:ident, $($test:ident),*) => {
        mod measure {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "measures, and takes minutes"]
            async fn $test() {
                Box::pin(crate::measure::$test::<super::$server>()).await;
            })*
        }
    };
    (@theme $server:ident, $($theme:ident :: $test:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            Box::pin(crate::$theme::$test::<$server>()).await;
        })*
    };
}

suite! {
    consul: crate::support::consul::Consul,
    dns: crate::support::dns::Dns,
    etcd: crate::support::etcd::Etcd,
    eureka: crate::support::eureka::Eureka,
    zookeeper: crate::support::zookeeper::Zookeeper,
}

/// Where a test ends early because the real server is missing.
macro_rules! or_skip {
    ($started:expr) => {
        match $started {
            Some(server) => server,
            None => return,
        }
    };
}
use or_skip;
