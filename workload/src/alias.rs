//! Walker's alias method, built as Vose did (1991): a draw from any finite distribution with one
//! random word and one table look-up.

use std::hint::select_unpredictable;

use crate::hash;

/// A column keeps its own index for coins below `threshold`, else it stands for `other`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Column {
    threshold: u64,
    other: u32,
}

/// A distribution over `0..weights.len()`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alias {
    columns: Vec<Column>,
}

impl Alias {
    /// The distribution in proportion to `weights`: not empty, fewer than 2^32, none negative, with
    /// a positive and finite sum.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        // In units of a full column.
        let mut filled: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut columns: Vec<Column> = (0..weights.len() as u32)
            .map(|own| Column {
                threshold: u64::MAX,
                other: own,
            })
            .collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&i| filled[i] < 1.0);
        while let (Some(&below), Some(&above)) = (poor.last(), rich.last()) {
            poor.pop();
            columns[below] = Column {
                threshold: (filled[below] * TWO_64) as u64,
                other: above as u32,
            };
            filled[above] -= 1.0 - filled[below];
            if filled[above] < 1.0 {
                rich.pop();
                poor.push(above);
            }
        }
        // Whatever is left is full but for rounding, and stands for itself alone.
        Self { columns }
    }

    /// The index that a random word draws.
    #[inline]
    pub(crate) fn pick(&self, random: u64) -> usize {
        let (column, coin) = hash::scale(random, self.columns.len() as u64);
        let Column { threshold, other } = self.columns[column as usize];
        // Which of both is chance: a branch would be mispredicted a third of the time.
        select_unpredictable(coin < threshold, column as usize, other as usize)
    }
}

/// 2^64, which turns a fraction into a threshold for a random word (`as u64` saturates).
pub(crate) const TWO_64: f64 = 18_446_744_073_709_551_616.0;
