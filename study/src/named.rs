//! The studies that everybody needs, with ranges that suit the machine at hand.

use crate::grid::AxisValues;
use crate::plan::{Kind, Part};

/// Where a study runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Hardware threads of this machine.
    pub(crate) cores: usize,
    /// Machines that `run-cluster.sh` would use; none: all programs run on this one.
    pub(crate) nodes: usize,
}

/// A study's grids: the name of each and its axes.
type Grids = Vec<(&'static str, Vec<String>)>;

/// The parts of a named study. A given axis replaces the values of its name, and is added to every
/// part if none has it.
///
/// # Errors
/// When a named study's own axes cannot be read.
pub(crate) fn parts(
    kind: Kind,
    quick: bool,
    room: Room,
    given: Vec<AxisValues>,
) -> Result<Vec<Part>, String> {
    let grids = match kind {
        Kind::Scaling => scaling(quick, room),
        Kind::Load => load(quick),
        Kind::Skew => skew(quick, room),
        Kind::Sweep => vec![("grid", Vec::new())],
    };
    let built = grids.iter().map(|(name, axes)| Part::new(name, axes));
    let mut parts: Vec<Part> = built.collect::<Result<_, _>>()?;
    for axis in given {
        replace(&mut parts, &axis);
    }
    Ok(parts)
}

fn replace(parts: &mut [Part], given: &AxisValues) {
    let mut found = false;
    let axes = parts.iter_mut().flat_map(|part| &mut part.axes);
    for axis in axes.filter(|axis| axis.name == given.name) {
        axis.values = given.values.clone();
        found = true;
    }
    if !found {
        parts
            .iter_mut()
            .for_each(|part| part.axes.push(given.clone()));
    }
}

/// Throughput over batch size, over tasks, and over servers and clients.
fn scaling(quick: bool, room: Room) -> Grids {
    let (batch_sizes, tasks) = match quick {
        true => ("64..16384*16", "1..256*16"),
        false => ("64..16384*2", "1..256*2"),
    };
    let (servers, clients) = programs(quick, room);
    vec![
        ("batch size", vec![format!("batch-size={batch_sizes}")]),
        ("tasks", vec![format!("tasks={tasks}")]),
        (
            "servers and clients",
            vec![format!("servers={servers}"), format!("clients={clients}")],
        ),
    ]
}

/// Servers and clients: half of a cluster's machines each; as processes of one machine the 1 to 4
/// servers of a course report, and more than two clients only where they find cores.
fn programs(quick: bool, room: Room) -> (String, String) {
    let half = room.nodes / 2;
    match (room.nodes, quick) {
        (2.., _) => (format!("1..{half}*2"), format!("1..{half}*2")),
        (_, true) => ("1,2".into(), "1,2".into()),
        (_, false) if room.cores < 8 => ("1..4".into(), "1,2".into()),
        (_, false) => ("1..4".into(), "1,2,4".into()),
    }
}

/// Latency and failures of read-heavy, mixed and write-heavy loads over rising concurrency.
fn load(quick: bool) -> Grids {
    let tasks = if quick { "1..64*8" } else { "1..256*2" };
    let axes = [
        "mix=95/5,50/50,5/95".into(),
        format!("tasks={tasks}"),
        "batch-size=1024".into(),
    ];
    vec![("load", axes.into())]
}

/// Each server's share over theta.
fn skew(quick: bool, room: Room) -> Grids {
    let thetas = if quick {
        "0,0.4,0.8,0.99,1.2"
    } else {
        "0..0.8+0.2,0.99,1.2"
    };
    let servers = match (room.nodes, quick) {
        (4.., _) => format!("2..{}*2", room.nodes / 2),
        (2.., _) => "1".into(),
        (_, true) => "2".into(),
        (_, false) => "2,4".into(),
    };
    vec![(
        "skew",
        vec![format!("servers={servers}"), format!("theta={thetas}")],
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAPTOP: Room = Room { cores: 2, nodes: 0 };

    fn count(parts: &[Part]) -> usize {
        parts
            .iter()
            .map(|part| crate::grid::points(&part.axes).len())
            .sum()
    }

    #[test]
    fn quick_studies_are_small_and_whole_ones_cover_a_course_report() {
        for (kind, quick, whole) in [
            (Kind::Scaling, 10, 26),
            (Kind::Load, 9, 27),
            (Kind::Skew, 5, 14),
        ] {
            assert_eq!(
                count(&parts(kind, true, LAPTOP, Vec::new()).unwrap()),
                quick,
                "{kind:?}"
            );
            assert_eq!(
                count(&parts(kind, false, LAPTOP, Vec::new()).unwrap()),
                whole,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_cluster_is_never_asked_for_more_machines_than_it_has() {
        for nodes in 2..20 {
            let room = Room { cores: 16, nodes };
            for kind in [Kind::Scaling, Kind::Skew] {
                for part in parts(kind, false, room, Vec::new()).unwrap() {
                    for point in crate::grid::points(&part.axes) {
                        let of = |name| match point.get(name) {
                            Some(crate::grid::Value::Whole(count)) => *count as usize,
                            _ => 1,
                        };
                        assert!(of("servers") + of("clients") <= nodes, "{nodes}: {point:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn given_axes_replace_or_are_added() {
        let given = ["tasks=4", "engine=partitioned,dashmap"];
        let given = given.map(|text| AxisValues::parse(text).unwrap()).into();
        let parts = parts(Kind::Load, true, LAPTOP, given).unwrap();
        let sizes: Vec<(&str, usize)> = parts[0]
            .axes
            .iter()
            .map(|axis| (axis.name.as_str(), axis.values.len()))
            .collect();
        assert_eq!(
            sizes,
            [("mix", 3), ("tasks", 1), ("batch-size", 1), ("engine", 2)]
        );
    }
}
