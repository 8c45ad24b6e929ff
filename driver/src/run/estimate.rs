//! Whether what is to be loaded can be held at all, before minutes of loading show it.

use std::net::IpAddr;

use crate::command::config::Config;
use crate::observation::host::memory_bytes;
use crate::screen::grouped;

const GIB: f64 = (1_u64 << 30) as f64;

/// Why a load cannot succeed; `None` when it may, also because nobody here knows what the servers have:
/// then the first put that is refused ends it.
pub(super) fn hopeless(config: &Config) -> Option<String> {
    let here = config.load && config.hosts.iter().all(|host| is_here(host));
    let needed = config.spec.records() as f64 * config.spec.record_bytes();
    let records = config.spec.records();
    too_much(records, needed, memory_bytes().filter(|_| here)?)
}

fn too_much(records: u64, needed_bytes: f64, memory_bytes: u64) -> Option<String> {
    let memory = memory_bytes as f64;
    (needed_bytes > memory).then(|| {
        format!(
            "the keys and values of {} records are {:.1} GiB, but this machine, which the servers run on, has {:.1} \
             GiB of memory; load fewer records (--records) or shorter values (--value-bytes)",
            grouped(records),
            needed_bytes / GIB,
            memory / GIB
        )
    })
}

/// Whether an address is certainly this machine's.
fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    name == "localhost" || loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_holds_is_refused() {
        assert_eq!(too_much(1_000_000, 135e6, 1 << 30), None);
        let text = too_much(1_000_000_000, 137e9, 16 << 30).unwrap();
        for words in [
            "1,000,000,000 records are 127.6 GiB",
            "has 16.0 GiB",
            "--records",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn only_loopback_is_certainly_here() {
        let here = [
            "127.0.0.1:8080",
            "localhost:1",
            "[::1]:80",
            "10.0.0.1:80",
            "node1:80",
        ]
        .map(is_here);
        assert_eq!(here, [true, true, true, false, false]);
    }
}
