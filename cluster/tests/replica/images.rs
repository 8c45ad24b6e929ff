//! Images as bytes: taken whole, cut apart and put together.

use batchkv_cluster::Replica;
use batchkv_store::Movable;

pub(crate) fn whole_image<E: Movable>(replica: &mut Replica<E>) -> Vec<u8> {
    let id = replica.begin_image();
    let mut image = Vec::new();
    while let Some(chunk) = replica.next_chunk(id).unwrap() {
        image.extend(chunk);
    }
    image
}

/// What stands before the end, and the end.
pub(crate) fn split_end(image: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 5;
    loop {
        let key_bytes = usize::from(u16::from_le_bytes([image[at + 1], image[at + 2]]));
        at += match image[at] {
            1 => 7 + key_bytes + stored_bytes(&image[at + 3..]),
            2 => 3 + key_bytes,
            _ => return image.split_at(at),
        };
    }
}

fn stored_bytes(bytes: &[u8]) -> usize {
    u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize
}

/// An image as it came, or as it was put together.
pub(crate) enum Spliced {
    Chunks(Vec<Vec<u8>>),
    Whole(Vec<u8>),
}

impl Spliced {
    pub(crate) fn of(records: &[u8], end: &[u8]) -> Self {
        Self::Whole([records, end].concat())
    }

    pub(crate) fn chunks(&self) -> Vec<&[u8]> {
        match self {
            Self::Chunks(chunks) => chunks.iter().map(Vec::as_slice).collect(),
            Self::Whole(image) => image.chunks(1000).collect(),
        }
    }
}
