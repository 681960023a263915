//! Who came before whom, and who was there with whom.

/// The greatest number of those who came later than someone and were admitted earlier, from when each came and was
/// admitted.
pub(super) fn greatest_inversion<T: Ord>(visits: &[(T, T)]) -> usize {
    let overtaken = |(came, admitted): &(T, T)| {
        let overtakers = visits
            .iter()
            .filter(|(other_came, other_admitted)| other_came > came && other_admitted < admitted);
        overtakers.count()
    };
    visits.iter().map(overtaken).max().unwrap_or(0)
}

/// How many sessions began while another of these was live, from when each began and ended. One that begins in the
/// moment another ends does not overlap it.
pub(super) fn overlaps<T: Ord>(spans: &[(T, T)]) -> usize {
    let others = |at: &usize| live_at_the_beginning(spans, *at) > 1;
    (0..spans.len()).filter(others).count()
}

/// The greatest number of sessions that were live at the same moment.
pub(super) fn most_at_once<T: Ord>(spans: &[(T, T)]) -> usize {
    let live = |at| live_at_the_beginning(spans, at);
    (0..spans.len()).map(live).max().unwrap_or(0)
}

/// How many are live when the one at this place begins, itself included; of those that begin in the same moment, the
/// ones before it.
fn live_at_the_beginning<T: Ord>(spans: &[(T, T)], at: usize) -> usize {
    let Some((from, _)) = spans.get(at) else {
        return 0;
    };
    let others = spans
        .iter()
        .enumerate()
        .filter(|(place, (began, ended))| (began, place) < (from, &at) && ended > from);
    others.count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    type Times = [(u32, u32)];

    #[test]
    fn an_inversion_is_how_often_somebody_was_overtaken() {
        let cases: [(&Times, usize); 7] = [
            (&[], 0),
            (&[(1, 9)], 0),
            (&[(1, 10), (2, 20), (3, 30)], 0),
            // The second and the third change places.
            (&[(1, 10), (2, 30), (3, 20)], 1),
            // The first is the last to be let in; the others keep their order.
            (&[(1, 40), (2, 10), (3, 20), (4, 30)], 3),
            // Who comes in the same moment as another overtakes nobody.
            (&[(1, 20), (1, 10)], 0),
            // Last come, first served; the list itself has no order.
            (&[(3, 20), (1, 40), (4, 10), (2, 30)], 3),
        ];
        for (visits, expected) in cases {
            assert_eq!(greatest_inversion(visits), expected, "{visits:?}");
        }
    }

    #[test]
    fn sessions_overlap_when_one_begins_while_another_is_live() {
        let cases: [(&Times, usize, usize); 7] = [
            (&[], 0, 0),
            (&[(1, 5)], 1, 0),
            // One begins as the other ends.
            (&[(1, 5), (5, 9)], 1, 0),
            (&[(1, 6), (5, 9)], 2, 1),
            (&[(5, 9), (1, 6)], 2, 1),
            (&[(1, 9), (1, 9), (1, 9)], 3, 2),
            // Two inside a long one, one after the other.
            (&[(1, 9), (2, 4), (5, 7)], 2, 2),
        ];
        for (spans, at_once, overlapping) in cases {
            assert_eq!(
                (most_at_once(spans), overlaps(spans)),
                (at_once, overlapping),
                "{spans:?}"
            );
        }
    }
}
