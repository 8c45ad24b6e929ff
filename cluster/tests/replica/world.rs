//! A replica, what was applied to it, and the copies that were made of it meanwhile.

use crate::images::{Spliced, split_end, whole_image};
use crate::model::Model;
use batchkv_cluster::replica::{Fault, ImageId, Import};
use batchkv_cluster::{Answer, Replica};
use batchkv_store::Movable;
use std::sync::Arc;

/// What is wrong with how copies are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    Nothing,
    /// What was written while the records were copied is not in the image.
    WritesMeanwhileLost,
    /// The image ends with the counters and the table of its beginning.
    TableOfTheBeginning,
    /// The receiver applies again what its state contains.
    NothingSkipped,
}

struct Entry {
    index: u64,
    proposals: Vec<Vec<u8>>,
    answers: Vec<Answer>,
}

struct Transfer {
    id: ImageId,
    begun_at: u64,
    image_of_the_beginning: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

pub(crate) struct World<E> {
    make: fn() -> E,
    mutant: Mutant,
    replica: Replica<E>,
    pub(crate) model: Model,
    log: Vec<Entry>,
    transfer: Option<Transfer>,
    copies: Vec<Replica<E>>,
}

fn borrowed(proposals: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    proposals.iter().map(Vec::as_slice)
}

/// The answers to an entry's proposals.
pub(crate) fn apply_all<'p, E: Movable>(
    replica: &mut Replica<E>,
    index: u64,
    time_millis: u64,
    proposals: impl IntoIterator<Item = &'p [u8]>,
) -> Result<Vec<Answer>, Fault> {
    let mut answers = Vec::new();
    replica.apply(index, time_millis, proposals, |answer| answers.push(answer))?;
    Ok(answers)
}

impl<E: Movable> World<E> {
    pub(crate) fn new(make: fn() -> E, mutant: Mutant) -> Self {
        Self {
            make,
            mutant,
            replica: Replica::new(Arc::new(make()), 0),
            model: Model::default(),
            log: Vec::new(),
            transfer: None,
            copies: Vec::new(),
        }
    }

    /// Applies an entry to the replica and to all that were copied from it.
    pub(crate) fn apply(&mut self, proposals: Vec<Vec<u8>>) -> Result<Vec<Answer>, String> {
        // Not every index holds proposals.
        let index = self.log.last().map_or(3, |entry| entry.index + 2);
        let answers = apply_all(&mut self.replica, index, index, borrowed(&proposals));
        let answers = answers.map_err(|fault| fault.to_string())?;
        self.log.push(Entry {
            index,
            proposals,
            answers: answers.clone(),
        });
        let entry = self.log.last().unwrap();
        for copy in &mut self.copies {
            follow(copy, entry, 0)?;
        }
        Ok(answers)
    }

    pub(crate) fn begin_transfer(&mut self) {
        if self.transfer.is_none() {
            self.transfer = Some(Transfer {
                image_of_the_beginning: whole_image(&mut self.replica),
                id: self.replica.begin_image(),
                begun_at: self.replica.applied(),
                chunks: Vec::new(),
            });
        }
    }

    pub(crate) fn fetch(&mut self, chunks: usize) -> Result<(), String> {
        for _ in 0..chunks {
            let Some(transfer) = &mut self.transfer else {
                break;
            };
            match self.replica.next_chunk(transfer.id).unwrap() {
                Some(chunk) => transfer.chunks.push(chunk),
                None => self.install()?,
            }
        }
        Ok(())
    }

    fn install(&mut self) -> Result<(), String> {
        let transfer = self.transfer.take().unwrap();
        let image = self.image_as_received(&transfer);
        let mut import = Import::begin(Arc::new((self.make)()), 0);
        for chunk in image.chunks() {
            import.take(chunk).unwrap();
        }
        let mut copy = import.finish().unwrap();
        // The receiver's group goes on behind the entry at which the image began.
        let shift = if self.mutant == Mutant::NothingSkipped {
            copy.applied()
        } else {
            0
        };
        for entry in self
            .log
            .iter()
            .filter(|entry| entry.index > transfer.begun_at)
        {
            follow(&mut copy, entry, shift)?;
        }
        self.copies.push(copy);
        Ok(())
    }

    fn image_as_received(&mut self, transfer: &Transfer) -> Spliced {
        let image = transfer.chunks.concat();
        let (records, end) = split_end(&image);
        let (records_of_the_beginning, end_of_the_beginning) =
            split_end(&transfer.image_of_the_beginning);
        match self.mutant {
            Mutant::Nothing | Mutant::NothingSkipped => Spliced::Chunks(transfer.chunks.clone()),
            Mutant::WritesMeanwhileLost => Spliced::of(records_of_the_beginning, end),
            Mutant::TableOfTheBeginning => Spliced::of(records, end_of_the_beginning),
        }
    }

    /// All copies, the one under way too, must be what the replica is, and that what the model is.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        self.fetch(usize::MAX)?;
        let digest = self.replica.digest();
        if digest.records != self.model.records.len() as u64 {
            return Err(format!("{digest:?}, not {}", self.model.records.len()));
        }
        if digest.content != content(&self.model) {
            return Err("the content is not the model's".to_owned());
        }
        for copy in &self.copies {
            let mut found = copy.digest();
            if self.mutant == Mutant::NothingSkipped {
                found.applied = digest.applied;
            }
            if found != digest {
                return Err(format!("the copy is {found:?}, not {digest:?}"));
            }
        }
        Ok(())
    }
}

/// The same answers as the original gave, but where the copy had the entry already.
fn follow<E: Movable>(copy: &mut Replica<E>, entry: &Entry, shift: u64) -> Result<(), String> {
    let has_it = entry.index + shift <= copy.applied();
    let answers = apply_all(
        copy,
        entry.index + shift,
        entry.index,
        borrowed(&entry.proposals),
    );
    let answers = answers.map_err(|fault| fault.to_string())?;
    let is_right = if has_it {
        answers.iter().all(|answer| *answer == Answer::Unknown)
    } else {
        answers == entry.answers
    };
    is_right.then_some(()).ok_or_else(|| {
        format!(
            "entry {}: {answers:?}, not {:?}",
            entry.index, entry.answers
        )
    })
}

/// The sum of the hashes of the model's records, as [`Digest`](batchkv_cluster::replica::Digest) has it.
fn content(model: &Model) -> u64 {
    let hash = |(key, (version, value)): (&Vec<u8>, &(u64, Vec<u8>))| {
        let key_bytes = (key.len() as u16).to_le_bytes();
        let record = [&key_bytes[..], key, value, &version.to_le_bytes()].concat();
        batchkv_protocol::placement(&record)
    };
    model.records.iter().map(hash).fold(0, u64::wrapping_add)
}
