//! A page of a list of summaries or alerts.
//!
//! Input: what is held, the newest first, each with its number and its size. Output: those of the page, and where the next one begins. Pure.
//! Invariant: the encoded items of a page have at most 2 MiB, unless it is a single one: clients of gRPC accept messages of 4 MB.

/// Items of a page where the request names no number.
const ITEMS: usize = 100;
/// The most items of a page.
const MOST_ITEMS: usize = 1_000;
/// The most bytes of a page, encoded as protobuf.
const MOST_BYTES: usize = 2 << 20;

/// Returns the number of items of a page; 0 requests the default, 100.
#[must_use]
pub fn page_size(requested: u32) -> usize {
    if requested == 0 { ITEMS } else { (requested as usize).min(MOST_ITEMS) }
}

/// Returns at most `size` items of those with a number below `before`, and the number behind which the next page begins; `None` on the last one.
/// `newest` are numbers, encoded sizes and items.
pub(super) fn page<T>(
    newest: impl Iterator<Item = (u64, usize, T)>,
    size: usize,
    before: Option<u64>,
) -> (Vec<T>, Option<u64>) {
    let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
    for (number, encoded, item) in
        newest.skip_while(|(number, ..)| before.is_some_and(|before| *number >= before))
    {
        bytes += encoded;
        if items.len() >= size || (bytes > MOST_BYTES && !items.is_empty()) {
            return (items, last);
        }
        items.push(item);
        last = Some(number);
    }
    (items, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_requests_the_default_number_of_items() {
        assert_eq!([0, 1, 5_000].map(page_size), [100, 1, 1_000]);
    }

    #[test]
    fn a_page_ends_before_it_is_too_large_and_no_item_is_left_out() {
        let sizes = [MOST_BYTES / 2, MOST_BYTES / 2, 1, 3 * MOST_BYTES, 1];
        let newest = || sizes.iter().enumerate().rev().map(|(number, size)| (number as u64, *size, number));
        let (mut pages, mut before) = (Vec::new(), None);
        loop {
            let (items, next) = page(newest(), 9, before);
            pages.push(items);
            before = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(pages, [vec![4], vec![3], vec![2, 1], vec![0]]);
    }
}
