//! The rim: groups' state machines as consensus drives them, and the threads that they work on.
//!
//! The consensus thread of a node executes no operations. It hands a partition's entries to the one worker
//! that the partition belongs to, and goes on with other groups until the answers are there.

mod directory;
mod partition;
mod slots;
mod workers;

pub use self::directory::{DirectoryImage, DirectoryImport, DirectoryMachine};
pub use self::partition::{
    Parked, PartitionImage, PartitionImport, PartitionMachine, PartitionWatch,
};
pub use self::slots::Slots;
pub use self::workers::Workers;
