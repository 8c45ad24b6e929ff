//! Bringing operations of one partition together: a stable counting sort that reuses its memory.

use std::ops::Range;

/// Orders operations by class (a partition, say). Operations of one class keep their order, so
/// operations on one key do.
///
/// ```
/// let mut grouping = batchkv_client::group::Grouping::default();
/// assert_eq!(grouping.sort(&[2u16, 0, 2, 1], 3), [1, 3, 0, 2]);
/// assert_eq!(grouping.range(2), 2..4);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Grouping {
    /// Where each class ends in `order`.
    ends: Vec<u32>,
    order: Vec<u32>,
}

impl Grouping {
    /// The operations' indices in the order of their classes; `classes[i]` is operation i's class,
    /// below `class_count`. Takes time in proportion to operations plus classes, and allocates
    /// nothing once it has sorted as many before.
    ///
    /// # Panics
    /// When a class is not below `class_count`, or there are more than `u32::MAX` operations.
    pub fn sort<C: Copy + Into<u32>>(&mut self, classes: &[C], class_count: usize) -> &[u32] {
        let operations = u32::try_from(classes.len()).expect("operations are counted in 32 bits");
        self.ends.clear();
        self.ends.resize(class_count, 0);
        for &class in classes {
            self.ends[class.into() as usize] += 1;
        }
        let mut start = 0;
        for end in &mut self.ends {
            start += std::mem::replace(end, start);
        }
        // Every place is written below: each class has as many as it has operations.
        self.order.resize(classes.len(), 0);
        for (index, &class) in (0..operations).zip(classes) {
            let next = &mut self.ends[class.into() as usize];
            self.order[*next as usize] = index;
            *next += 1;
        }
        &self.order
    }

    /// The order that [`sort`](Self::sort) made.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Where the operations of `class` stand in the order.
    ///
    /// # Panics
    /// When the last sort had no such class.
    #[must_use]
    pub fn range(&self, class: usize) -> Range<usize> {
        let start = class.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[class] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_the_stable_sort_by_class(
            sorts in prop::collection::vec(prop::collection::vec(0..16_u32, 0..200), 1..4),
        ) {
            let mut grouping = Grouping::default();
            for classes in sorts {
                let mut expected: Vec<u32> = (0..classes.len() as u32).collect();
                expected.sort_by_key(|&index| classes[index as usize]);
                prop_assert_eq!(grouping.sort(&classes, 16), &expected[..]);
                for class in 0..16 {
                    let range = grouping.range(class as usize);
                    let members = &grouping.order()[range];
                    prop_assert!(members.iter().all(|&index| classes[index as usize] == class));
                    let count = classes.iter().filter(|&&other| other == class).count();
                    prop_assert_eq!(members.len(), count);
                }
            }
        }
    }
}
