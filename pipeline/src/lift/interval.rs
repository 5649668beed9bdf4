//! An interval: where a quantity is thought to lie.

/// All values from `lower` to `upper`, both finite and included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The smallest value.
    pub lower: f64,
    /// The greatest value.
    pub upper: f64,
}

impl Interval {
    /// The interval between two bounds. `None` if one is not finite, or if they are in the wrong order.
    pub fn new(lower: f64, upper: f64) -> Option<Self> {
        (lower.is_finite() && upper.is_finite() && lower <= upper).then_some(Self { lower, upper })
    }

    /// The interval of `half_width` to both sides of `centre`.
    pub fn around(centre: f64, half_width: f64) -> Option<Self> {
        Self::new(centre - half_width, centre + half_width)
    }

    /// Whether `value` lies in it.
    pub fn contains(&self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }

    /// From the smallest to the greatest value.
    pub fn width(&self) -> f64 {
        self.upper - self.lower
    }

    /// The interval of the quantity times `factor`: a difference of rates times the people treated is that of the
    /// *incremental conversions*.
    pub fn times(&self, factor: f64) -> Option<Self> {
        let (one, other) = (self.lower * factor, self.upper * factor);
        Self::new(one.min(other), one.max(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_finite_and_in_order() {
        assert_eq!(Interval::new(1.0, 2.0), Some(Interval { lower: 1.0, upper: 2.0 }));
        assert_eq!(Interval::new(2.0, 1.0), None);
        assert_eq!(Interval::new(f64::NAN, 1.0), None);
        assert_eq!(Interval::new(0.0, f64::INFINITY), None);
        assert_eq!(Interval::around(0.0, -1.0), None);
    }

    #[test]
    fn both_bounds_belong_to_it() {
        let interval = Interval { lower: -1.0, upper: 3.0 };
        assert!(interval.contains(-1.0) && interval.contains(3.0) && !interval.contains(3.1));
        assert!(!interval.contains(f64::NAN));
    }

    #[test]
    fn a_negative_factor_turns_it_around() {
        let interval = Interval { lower: -1.0, upper: 3.0 };
        assert_eq!(interval.times(-2.0), Some(Interval { lower: -6.0, upper: 2.0 }));
        assert_eq!(interval.times(f64::NAN), None);
        assert!((interval.width() - 4.0).abs() < 1e-15);
    }
}
