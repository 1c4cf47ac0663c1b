//! The cheapest assignment of columns to rows, by Jonker and Volgenant ("A shortest augmenting path algorithm for dense
//! and sparse linear assignment problems", Computing 38, 1987): cubic time, quadratic memory.
//!
//! Where several assignments cost the same, and short series have many such, the order in which rows and columns are
//! looked at decides. It is that of git-range-diff(1), so that the same patches are paired.

/// Costs of a square matrix, and what is assigned so far.
struct Search<'a> {
    /// Row by row, `size` columns each.
    costs: &'a [i64],
    size: usize,
    /// What each column costs by itself; a row's cost there counts less this.
    prices: Vec<i64>,
    row_of: Vec<Option<usize>>,
    column_of: Vec<Option<usize>>,
}

/// For each column of a square matrix its row.
///
/// A column without a row is worth no row: see [`Search::nearest_free`].
pub(super) fn assign(costs: &[i64], size: usize) -> Vec<Option<usize>> {
    if size < 2 {
        return vec![Some(0); size];
    }
    let mut search = Search {
        costs,
        size,
        prices: vec![0; size],
        row_of: vec![None; size],
        column_of: vec![None; size],
    };
    let wishes = search.give_cheapest_rows();
    let mut free = search.pass_reductions_on(&wishes);
    // A second round is cheap and leaves little to the search for paths.
    for _ in 0..2 {
        free = search.contend(&free);
    }
    for row in free {
        search.grow_path(row);
    }
    search.row_of
}

impl Search<'_> {
    fn reduced(&self, row: usize, column: usize) -> i64 {
        self.costs[row * self.size + column] - self.prices[column]
    }

    fn give(&mut self, row: usize, column: usize) {
        self.row_of[column] = Some(row);
        self.column_of[row] = Some(column);
    }

    /// Column reduction: each column, the last first, wishes for its cheapest row and gets it if it is still free.
    /// Returns how many wished for each row.
    fn give_cheapest_rows(&mut self) -> Vec<usize> {
        let mut wishes = vec![0; self.size];
        for column in (0..self.size).rev() {
            let cheapest = (0..self.size).min_by_key(|row| self.reduced(*row, column));
            let row = cheapest.unwrap_or_default();
            self.prices[column] = self.reduced(row, column);
            wishes[row] += 1;
            if wishes[row] == 1 {
                self.give(row, column);
            }
        }
        wishes
    }

    /// Reduction transfer: a row that one column wished for makes it as cheap as its second choice allows. Returns the
    /// rows that nobody wished for.
    fn pass_reductions_on(&mut self, wishes: &[usize]) -> Vec<usize> {
        for row in (0..self.size).filter(|row| wishes[*row] == 1) {
            let Some(own) = self.column_of[row] else {
                continue;
            };
            let others = (0..self.size).filter(|column| *column != own);
            let least = others.map(|column| self.reduced(row, column)).min();
            self.prices[own] -= least.unwrap_or(0);
        }
        let free = (0..self.size).filter(|row| wishes[*row] == 0);
        free.collect()
    }

    /// Augmenting row reduction: free rows take their cheapest column, and who is driven out goes on at once if the
    /// column was the only cheapest, else waits. Returns who waits.
    fn contend(&mut self, free: &[usize]) -> Vec<usize> {
        let mut next: Vec<usize> = free.iter().rev().copied().collect();
        let mut later = Vec::new();
        while let Some(row) = next.pop() {
            let ((mut column, least), (second, less)) = self.two_cheapest(row);
            let alone = least < less;
            if alone {
                self.prices[column] -= less - least;
            } else if self.row_of[column].is_some() {
                column = second;
            }
            match self.row_of[column] {
                Some(driven_out) if alone => next.push(driven_out),
                Some(driven_out) => later.push(driven_out),
                None => {}
            }
            self.give(row, column);
        }
        later
    }

    /// The cheapest column of a row and the second, each with its cost. Of two equal ones the first seen is the second.
    fn two_cheapest(&self, row: usize) -> ((usize, i64), (usize, i64)) {
        let mut first = (0, self.reduced(row, 0));
        let mut second = (0, i64::MAX);
        for column in 1..self.size {
            let cost = self.reduced(row, column);
            if cost >= second.1 {
                continue;
            }
            if first.1 < cost {
                second = (column, cost);
            } else {
                second = std::mem::replace(&mut first, (column, cost));
            }
        }
        (first, second)
    }

    /// Augmentation: hands columns on along the shortest path from a free row to a free column.
    fn grow_path(&mut self, start: usize) {
        let mut reach = Reach {
            distance: (0..self.size).map(|c| self.reduced(start, c)).collect(),
            from: vec![start; self.size],
            order: (0..self.size).collect(),
            scanned: 0,
            near: 0,
            least: 0,
        };
        let (end, settled) = self.nearest_free(&mut reach);
        for column in &reach.order[..settled] {
            self.prices[*column] += reach.distance[*column] - reach.least;
        }
        let mut column = end;
        loop {
            let row = reach.from[column];
            self.row_of[column] = Some(row);
            match self.column_of[row].replace(column) {
                Some(before) if row != start => column = before,
                _ => break,
            }
        }
    }

    /// The column where the path ends, and how many columns, in the order of `reach`, were nearer.
    ///
    /// Git ends the path at the column that it looked at last if a free one is among the nearest, though that need not
    /// be the free one: then a column stays without a row, and the pairing can cost a little more than need be. To
    /// pair as git does, this does the same.
    fn nearest_free(&self, reach: &mut Reach) -> (usize, usize) {
        let mut last = reach.order[self.size - 1];
        loop {
            let settled = reach.scanned;
            last = reach.gather().unwrap_or(last);
            let nearest = &reach.order[reach.scanned..reach.near];
            if nearest.iter().any(|c| self.row_of[*c].is_none()) {
                return (last, settled);
            }
            while reach.scanned < reach.near {
                let column = reach.order[reach.scanned];
                reach.scanned += 1;
                if let Some(row) = self.row_of[column]
                    && let Some(end) = self.scan(row, column, reach, &mut last)
                {
                    return (end, settled);
                }
            }
        }
    }

    /// Looks from a row, whose column is reached, at the columns that are not; returns a free one that is as near.
    fn scan(
        &self,
        row: usize,
        column: usize,
        reach: &mut Reach,
        last: &mut usize,
    ) -> Option<usize> {
        let more = self.reduced(row, column) - reach.least;
        for at in reach.near..self.size {
            let other = reach.order[at];
            *last = other;
            let distance = self.reduced(row, other) - more;
            if distance >= reach.distance[other] {
                continue;
            }
            reach.distance[other] = distance;
            reach.from[other] = row;
            if distance == reach.least {
                if self.row_of[other].is_none() {
                    return Some(other);
                }
                reach.take(at);
            }
        }
        None
    }
}

/// How far the columns are from the row where a path begins.
struct Reach {
    distance: Vec<i64>,
    /// The row from which a column is reached.
    from: Vec<usize>,
    /// Columns: those scanned, those at the least distance, the others.
    order: Vec<usize>,
    scanned: usize,
    /// End of those at the least distance.
    near: usize,
    least: i64,
}

impl Reach {
    /// Finds the nearest of the columns that are not reached; returns the one that was looked at last.
    fn gather(&mut self) -> Option<usize> {
        let mut last = None;
        self.least = self.distance[self.order[self.near]];
        self.near += 1;
        for at in self.near..self.order.len() {
            let column = self.order[at];
            last = Some(column);
            if self.distance[column] < self.least {
                self.least = self.distance[column];
                self.near = self.scanned;
            }
            if self.distance[column] == self.least {
                self.take(at);
            }
        }
        last
    }

    /// Moves the column at this place to those at the least distance.
    fn take(&mut self, at: usize) {
        self.order.swap(at, self.near);
        self.near += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::assign;
    use proptest::prelude::*;

    #[track_caller]
    fn check(costs: &[i64], size: usize, expected: &str) {
        let shown = |row: &Option<usize>| row.map_or("-".to_owned(), |row| row.to_string());
        let rows: Vec<String> = assign(costs, size).iter().map(shown).collect();
        assert_eq!(rows.join(" "), expected, "costs: {costs:?}");
    }

    #[test]
    fn the_cheapest_wins() {
        check(&[], 0, "");
        check(&[7], 1, "0");
        check(&[1, 9, 9, 1], 2, "0 1");
        check(&[9, 1, 1, 9], 2, "1 0");
        check(&[4, 1, 3, 2, 0, 5, 3, 2, 2], 3, "1 0 2");
    }

    /// Old and new patch cost as much together as each alone: git pairs them.
    #[test]
    fn a_tie_is_a_pair() {
        check(&[6, 3, 3, 0], 2, "0 1");
        check(&[7, 3, 3, 0], 2, "1 0");
    }

    proptest! {
        #[test]
        fn no_row_is_given_twice(size in 0usize..9, costs in prop::collection::vec(0i64..9, 64)) {
            let rows = assign(&costs[..size * size], size);
            let mut given: Vec<usize> = rows.into_iter().flatten().collect();
            let count = given.len();
            given.sort_unstable();
            given.dedup();
            prop_assert_eq!(given.len(), count);
        }
    }
}
