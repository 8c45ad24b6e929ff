//! Whether what is to be loaded can be held at all, before minutes of loading show it.

use crate::command::config::Config;
use crate::observation::host::memory_bytes;
use crate::screen::grouped;

const GIB: f64 = (1_u64 << 30) as f64;

/// Why a load cannot succeed; `None` when it may. What servers on other machines have is not known here, nor what
/// any of them may use (`--max-memory`): there the first put that is refused ends the load.
pub(super) fn hopeless(config: &Config, servers_are_here: bool) -> Option<String> {
    let judged = config.load && servers_are_here;
    let needed = config.spec.records() as f64 * config.spec.record_bytes();
    let records = config.spec.records();
    too_much(records, needed, memory_bytes().filter(|_| judged)?)
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
}
