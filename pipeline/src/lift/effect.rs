//! An effect: by how much an arm differs from the control, before any interval is laid around it.

use super::sample::Sample;

/// An estimate, with what an interval needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// The estimate.
    pub estimate: f64,
    /// The variance of the estimate: the square of its standard error. Above 0.
    pub variance: f64,
    /// People of both arms.
    pub n: u64,
    /// Degrees of freedom of the variance, after Welch and Satterthwaite.
    pub degrees_of_freedom: f64,
}

impl Effect {
    /// An effect of numbers that are one: finite, and with a variance.
    pub(super) fn new(estimate: f64, variance: f64, n: u64, degrees_of_freedom: f64) -> Option<Self> {
        let known = estimate.is_finite() && variance.is_finite() && variance > 0.0 && degrees_of_freedom.is_finite();
        known.then_some(Self { estimate, variance, n, degrees_of_freedom })
    }
}

/// The difference of the means, treatment minus control: `Δ = m_T - m_C`, variance `v_T / n_T + v_C / n_C`.
///
/// `None` if an arm has fewer than two people, or if nobody differs from anybody in both: then nothing says how sure
/// the difference is.
pub fn difference(control: &Sample, treatment: &Sample) -> Option<Effect> {
    let variance = control.variance_of_mean()? + treatment.variance_of_mean()?;
    effect(treatment.mean - control.mean, variance, control, treatment)
}

/// The relative difference, `m_T / m_C - 1`, by the delta method: variance `v_T / (n_T m_C²) + v_C m_T² / (n_C m_C⁴)`.
///
/// The degrees of freedom are those of the plain difference. `None` as for [`difference`], and if the control's mean is
/// not above 0: of nothing, or of a loss, there is no meaningful share. The delta method wants a control's mean of some
/// standard errors. With few conversions it is far too sure of losses (a treatment that happens to have hardly any
/// seems to have hardly any variance), so it is for reading: verdicts are taken from the [`difference`].
pub fn relative(control: &Sample, treatment: &Sample) -> Option<Effect> {
    if control.mean <= 0.0 {
        return None;
    }
    let times = treatment.mean / control.mean;
    let variance =
        (treatment.variance_of_mean()? + times * times * control.variance_of_mean()?) / (control.mean * control.mean);
    effect(times - 1.0, variance, control, treatment)
}

/// An effect of two samples whose variance is known.
pub(super) fn effect(estimate: f64, variance: f64, control: &Sample, treatment: &Sample) -> Option<Effect> {
    let degrees_of_freedom = satterthwaite(control, treatment)?;
    Effect::new(estimate, variance, control.n.saturating_add(treatment.n), degrees_of_freedom)
}

/// Welch–Satterthwaite: `(a + b)² / (a² / (n_C - 1) + b² / (n_T - 1))` for the variances `a` and `b` of the two means.
fn satterthwaite(control: &Sample, treatment: &Sample) -> Option<f64> {
    let (a, b) = (control.variance_of_mean()?, treatment.variance_of_mean()?);
    if control.n < 2 || treatment.n < 2 || a + b <= 0.0 {
        return None;
    }
    // As shares, so that tiny variances do not vanish when squared.
    let (a, b) = (a / (a + b), b / (a + b));
    Some(1.0 / (a * a / (control.n - 1) as f64 + b * b / (treatment.n - 1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: Sample = Sample { n: 100, mean: 2.0, variance: 4.0 };
    const TREATMENT: Sample = Sample { n: 50, mean: 3.0, variance: 1.0 };

    /// Variances of the means: 0.04 and 0.02. Degrees of freedom: 0.06² / (0.04² / 99 + 0.02² / 49).
    #[test]
    fn effects_are_those_computed_by_hand() {
        let degrees_of_freedom = 0.0036 / (0.0016 / 99.0 + 0.0004 / 49.0);
        let check = |effect: Option<Effect>, estimate: f64, variance: f64| {
            let effect = effect.unwrap();
            assert_eq!(effect.n, 150);
            assert!((effect.estimate - estimate).abs() < 1e-12, "{effect:?}");
            assert!((effect.variance - variance).abs() < 1e-12, "{effect:?}");
            assert!((effect.degrees_of_freedom - degrees_of_freedom).abs() < 1e-9, "{effect:?}");
        };
        check(difference(&CONTROL, &TREATMENT), 1.0, 0.06);
        // 0.02 / 4 + 0.04 · 9 / 16
        check(relative(&CONTROL, &TREATMENT), 0.5, 0.0275);
    }

    #[test]
    fn without_people_variance_or_base_there_is_no_effect() {
        let nobody = Sample { n: 0, mean: 0.0, variance: 0.0 };
        let one = Sample { n: 1, ..CONTROL };
        let constant = |mean| Sample { n: 9, mean, variance: 0.0 };
        assert_eq!(difference(&nobody, &TREATMENT), None);
        assert_eq!(difference(&CONTROL, &one), None);
        assert_eq!(difference(&constant(0.0), &constant(1.0)), None);
        assert_eq!(relative(&constant(0.0), &TREATMENT), None);
        assert_eq!(relative(&Sample { mean: -2.0, ..CONTROL }, &TREATMENT), None);
        assert_eq!(difference(&Sample { mean: f64::NAN, ..CONTROL }, &TREATMENT), None);
        assert_eq!(relative(&Sample { mean: f64::NAN, ..CONTROL }, &TREATMENT), None);
        assert_eq!(relative(&Sample { mean: 1e-200, ..CONTROL }, &TREATMENT), None);
        assert!(difference(&constant(0.0), &TREATMENT).is_some());
    }

    #[test]
    fn swapping_the_arms_turns_the_difference_around() {
        let there = difference(&CONTROL, &TREATMENT).unwrap();
        let back = difference(&TREATMENT, &CONTROL).unwrap();
        assert_eq!(back, Effect { estimate: -there.estimate, ..there });
    }
}
