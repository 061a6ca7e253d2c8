//! What the door counts. Names are Prometheus's, without the `matron_door_` in front.

use std::sync::atomic::{AtomicU64, Ordering};

use rpc::proto;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The door's counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Vec<proto::Counter> {
                vec![$(proto::Counter {
                    name: concat!(stringify!($name), "_total").to_owned(),
                    value: self.$name.load(Ordering::Relaxed),
                },)*]
            }
        }
    };
}

counters! {
    /// TLS connections accepted.
    connections,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// Connections turned away because too many were open.
    connections_refused,
    /// New TLS certificates that were not taken up.
    certificates_refused,
    /// Requests read.
    requests,
    /// Free queries sent.
    free_queries,
    /// Warranted answers sent.
    warranted,
    /// 400 and 413 answers.
    bad_requests,
    /// 503 answers.
    unavailable,
    /// Answers of core that were not let out: not on the closed list.
    refused_unlisted,
    /// Answers of core that were not let out: no valid warrant.
    refused_warrants,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
