//! Whether a number stays where it is over time.

/// How far a number may move and still be flat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// By so much of its mean …
    pub part: f64,
    /// … or by so much, whichever is more.
    pub least: f64,
}

impl Tolerance {
    /// Only one and the same number is flat.
    pub const NONE: Self = Self { part: 0.0, least: 0.0 };

    fn around(self, mean: f64) -> f64 {
        self.least.max(self.part * mean)
    }
}

/// Why numbers, sampled at equal intervals, are not flat: the line that fits them best drifts by more than
/// the tolerance from the first to the last, or they lie apart by more than twice that. `None` if they are,
/// as fewer than two always are.
#[must_use]
pub fn why_not_flat(numbers: &[f64], tolerance: Tolerance) -> Option<String> {
    let count = numbers.len() as f64;
    if numbers.len() < 2 {
        return None;
    }
    let mean = numbers.iter().sum::<f64>() / count;
    let allowed = tolerance.around(mean);
    let drift = slope(numbers) * (count - 1.0);
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let spread = greatest - least;
    if drift.abs() > allowed {
        return Some(format!("it drifts by {drift:+.1} around {mean:.1}; {allowed:.1} is allowed"));
    }
    if spread > 2.0 * allowed {
        let twice = 2.0 * allowed;
        return Some(format!("it is between {least:.1} and {greatest:.1}; {twice:.1} is allowed"));
    }
    None
}

/// By how much the line that fits the numbers best rises from one to the next.
fn slope(numbers: &[f64]) -> f64 {
    let middle = (numbers.len() as f64 - 1.0) / 2.0;
    let (mut rise, mut run) = (0.0, 0.0);
    for (n, number) in numbers.iter().enumerate() {
        let x = n as f64 - middle;
        rise += x * number;
        run += x * x;
    }
    if run > 0.0 { rise / run } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Tolerance = Tolerance { part: 0.1, least: 0.0 };

    #[test]
    fn what_moves_within_its_tolerance_is_flat() {
        for numbers in [&[][..], &[7.0], &[100.0, 109.0], &[100.0, 104.0, 96.0, 102.0, 100.0]] {
            assert_eq!(why_not_flat(numbers, TENTH), None, "{numbers:?}");
        }
        assert_eq!(why_not_flat(&[5.0; 9], Tolerance::NONE), None);
    }

    #[test]
    fn what_grows_slowly_is_not() {
        let leak: Vec<f64> = (0..19).map(|minute| 100.0 + f64::from(minute)).collect();
        assert!(why_not_flat(&leak, TENTH).is_some_and(|why| why.contains("drifts by +18")));
        // However much it sways meanwhile.
        let sways = |(n, number): (usize, &f64)| number + if n % 2 == 0 { 5.0 } else { -5.0 };
        let swaying: Vec<f64> = leak.iter().enumerate().map(sways).collect();
        assert!(why_not_flat(&swaying, TENTH).is_some_and(|why| why.contains("drifts")));
        assert!(why_not_flat(&[100.0, 80.0], TENTH).is_some(), "nor what shrinks");
    }

    #[test]
    fn what_jumps_and_comes_back_is_not() {
        let peak = [100.0, 100.0, 100.0, 140.0, 100.0, 100.0, 100.0];
        assert!(why_not_flat(&peak, TENTH).is_some_and(|why| why.contains("between")));
        assert!(why_not_flat(&[1.0, 1.0, 2.0, 1.0, 1.0], Tolerance::NONE).is_some());
    }

    #[test]
    fn a_small_number_has_its_least_tolerance() {
        let tolerance = Tolerance { part: 0.1, least: 4.0 };
        assert_eq!(why_not_flat(&[8.0, 12.0], tolerance), None);
        assert!(why_not_flat(&[8.0, 13.0], tolerance).is_some());
    }
}
