//! What is made of several rounds.

use serde::{Deserialize, Serialize};

/// The rounds of one measurement: their median, and how far they lie apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them, in the order in which they were measured.
    pub rounds: Vec<f64>,
}

impl Summary {
    /// Sums up rounds, in any order; of none, everything is NaN.
    #[must_use]
    pub fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let [min, max] =
            [sorted.first(), sorted.last()].map(|end| end.copied().unwrap_or(f64::NAN));
        Self { median: middle(&sorted), min, max, rounds }
    }
}

/// The median of numbers in any order.
#[must_use]
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    middle(&numbers)
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len().is_multiple_of(2) => f64::midpoint(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_keeps_the_order_of_rounds() {
        let summary = Summary::of(vec![3.0, 1.0, 5.0]);
        assert_eq!((summary.median, summary.min, summary.max), (3.0, 1.0, 5.0));
        assert_eq!(summary.rounds, [3.0, 1.0, 5.0]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
