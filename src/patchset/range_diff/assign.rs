//! The cheapest assignment of rows to columns: the Hungarian algorithm with potentials, cubic time, quadratic memory.

/// For each row of a square matrix (row by row, `size` columns) its column, so that the sum of the costs is least.
pub(super) fn assign(costs: &[i64], size: usize) -> Vec<usize> {
    // Row 0 and column 0 are a start outside of the matrix: everything else counts from 1.
    let mut row_of = vec![0usize; size + 1];
    let mut column_pot = vec![0i64; size + 1];
    let mut row_pot = vec![0i64; size + 1];
    for row in 1..=size {
        row_of[0] = row;
        let mut least = vec![i64::MAX; size + 1];
        let mut came_from = vec![0usize; size + 1];
        let mut seen = vec![false; size + 1];
        let mut column = 0;
        // Grows a tree of tight edges until it reaches a free column.
        while row_of[column] != 0 {
            seen[column] = true;
            let here = row_of[column];
            let (mut delta, mut next) = (i64::MAX, 0);
            for other in (1..=size).filter(|c| !seen[*c]) {
                let cost = costs[(here - 1) * size + other - 1];
                let slack = cost - row_pot[here] - column_pot[other];
                if slack < least[other] {
                    least[other] = slack;
                    came_from[other] = column;
                }
                if least[other] < delta {
                    (delta, next) = (least[other], other);
                }
            }
            for other in 0..=size {
                if seen[other] {
                    row_pot[row_of[other]] += delta;
                    column_pot[other] -= delta;
                } else if other > 0 {
                    least[other] -= delta;
                }
            }
            column = next;
        }
        // Turns the path around.
        while column != 0 {
            let before = came_from[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    let mut column_of = vec![0; size];
    for column in 1..=size {
        column_of[row_of[column] - 1] = column - 1;
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::assign;
    use proptest::prelude::*;

    fn total(costs: &[i64], columns: &[usize]) -> i64 {
        let rows = columns.iter().enumerate();
        rows.map(|(row, column)| costs[row * columns.len() + column])
            .sum()
    }

    /// All permutations, one after another.
    fn cheapest(costs: &[i64], size: usize, taken: &mut Vec<usize>) -> i64 {
        if taken.len() == size {
            return total(costs, taken);
        }
        let mut best = i64::MAX;
        for column in 0..size {
            if !taken.contains(&column) {
                taken.push(column);
                best = best.min(cheapest(costs, size, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_assignment_is_cheaper(size in 0usize..6, costs in prop::collection::vec(0i64..50, 25)) {
            let costs = &costs[..size * size];
            let columns = assign(costs, size);
            let mut sorted = columns.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..size).collect::<Vec<_>>());
            prop_assert_eq!(total(costs, &columns), cheapest(costs, size, &mut Vec::new()));
        }
    }
}
