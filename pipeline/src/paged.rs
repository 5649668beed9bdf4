//! Columns that grow by pages. A vector that doubles copies all that it holds, and for that moment takes three times as
//! much memory; with millions of values that was the largest part of the work on them.

/// Values of a page: 256 KiB of small integers.
const PAGE: usize = 1 << 16;

/// Values in the order in which they came.
#[derive(Debug, Clone)]
pub(crate) struct Paged<T>(Vec<Vec<T>>);

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Paged<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE + last.len())
    }

    /// Puts a value at the end.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.room().push(value);
    }

    /// Puts as many equal values at the end as are missing up to a length.
    pub fn fill(&mut self, len: usize, value: T) {
        let mut missing = len.saturating_sub(self.len());
        while missing > 0 {
            let page = self.room();
            let more = missing.min(PAGE - page.len());
            page.resize(page.len() + more, value);
            missing -= more;
        }
    }

    /// The value at a place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<T> {
        self.0.get(place / PAGE)?.get(place % PAGE).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.0.iter().flatten().copied()
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        self.0.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }

    fn room(&mut self) -> &mut Vec<T> {
        if self.0.last().is_none_or(|last| last.len() == PAGE) {
            // Where there are few values, the first page is as small as they need.
            let capacity = if self.0.is_empty() { 0 } else { PAGE };
            self.0.push(Vec::with_capacity(capacity));
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_where_they_were_put_across_pages() {
        let mut values = Paged::default();
        assert_eq!((values.len(), values.get(0)), (0, None));
        (0..PAGE as u32 - 1).for_each(|value| values.push(value));
        values.fill(3 * PAGE + 5, 7);
        values.fill(10, 8);
        values.push(9);
        assert_eq!(values.len(), 3 * PAGE + 6);
        let places = [0, PAGE - 2, PAGE - 1, PAGE, 3 * PAGE + 4, 3 * PAGE + 5, 3 * PAGE + 6];
        let expected = [Some(0), Some(PAGE as u32 - 2), Some(7), Some(7), Some(7), Some(9), None];
        assert_eq!(places.map(|place| values.get(place)), expected);
        assert!(values.iter().eq((0..values.len()).filter_map(|place| values.get(place))));
    }
}
