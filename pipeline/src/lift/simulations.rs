//! Planted truths: what the module promises, kept over many simulated experiments. Seeds are fixed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, StandardNormal};

use super::*;

const HALVES: [f64; 2] = [0.5, 0.5];

fn binomial(n: u64, rate: f64, random: &mut StdRng) -> Proportion {
    Proportion { successes: Binomial::new(n, rate).unwrap().sample(random), n }
}

fn normal(random: &mut StdRng) -> f64 {
    StandardNormal.sample(random)
}

/// An experiment with as many people in both arms each day, seen at the end of each day.
struct Experiment {
    rates: [f64; 2],
    people_a_day: u64,
    days: usize,
}

impl Experiment {
    /// Control and treatment up to each day.
    fn run(&self, random: &mut StdRng) -> Vec<[Proportion; 2]> {
        let mut arms = [Proportion::default(); 2];
        let mut day = || {
            for (arm, rate) in arms.iter_mut().zip(self.rates) {
                *arm = *arm + binomial(self.people_a_day, rate, random);
            }
            arms
        };
        (0..self.days).map(|_| day()).collect()
    }
}

/// From the counts of two arms to the verdict: the whole way.
fn judged(looks: &[[Proportion; 2]]) -> Judgement {
    let [control, treatment] = looks[looks.len() - 1];
    let effect = difference(&control.sample().unwrap(), &treatment.sample().unwrap());
    let always_valid = effect.and_then(|effect| confidence_sequence(&effect, ALPHA, PLANNED_PEOPLE));
    let people: Vec<[u64; 2]> = looks.iter().map(|look| look.map(|arm| arm.n)).collect();
    let evidence = Evidence {
        always_valid: always_valid.map(|found| found.interval),
        fixed_horizon: newcombe(&control, &treatment, ALPHA).map(|found| found.interval),
        chi_squared: srm_chi_squared(&people[people.len() - 1], &HALVES),
        sequential: sequential_srm(&people, &HALVES),
    };
    judge(&evidence, Better::Higher)
}

fn always_valid(effect: Option<Effect>) -> Interval {
    confidence_sequence(&effect.unwrap(), ALPHA, PLANNED_PEOPLE).unwrap().interval
}

fn once(effect: Option<Effect>) -> Interval {
    welch(&effect.unwrap(), ALPHA).unwrap().interval
}

/// Conversion rises from 5 % to 6 %.
#[test]
fn a_planted_lift_of_20_percent_lies_in_its_interval_in_95_of_100_runs() {
    let mut random = StdRng::seed_from_u64(20);
    let experiment = Experiment { rates: [0.05, 0.06], people_a_day: 1_000, days: 28 };
    let runs = 200;
    let (mut recovered, mut recovered_every_day, mut won, mut lost, mut sum) = (0, 0, 0, 0, 0.0);
    for _ in 0..runs {
        let looks = experiment.run(&mut random);
        let effects: Vec<_> = looks
            .iter()
            .map(|[control, treatment]| relative(&control.sample().unwrap(), &treatment.sample().unwrap()))
            .collect();
        sum += effects[experiment.days - 1].unwrap().estimate;
        recovered += usize::from(always_valid(effects[experiment.days - 1]).contains(0.2));
        recovered_every_day += usize::from(effects.iter().all(|effect| always_valid(*effect).contains(0.2)));
        won += usize::from(judged(&looks).verdict == Verdict::Win);
        lost += usize::from(judged(&looks).verdict == Verdict::Loss);
    }
    assert!(recovered * 100 >= runs * 95, "recovered in {recovered} of {runs}");
    assert!(recovered_every_day * 100 >= runs * 95, "recovered at all looks in {recovered_every_day} of {runs}");
    assert!((sum / 200.0 - 0.2).abs() < 0.01, "mean {}", sum / 200.0);
    assert!(won * 100 >= runs * 90 && lost == 0, "won {won}, lost {lost}");
}

/// Nothing was planted, and somebody looks every day. The fixed-horizon verdict shows what that costs without care.
#[test]
fn a_planted_lift_of_0_is_called_in_at_most_5_of_100_runs_although_one_looks_every_day() {
    for (seed, rate, people_a_day) in [(1, 0.05, 200), (2, 0.01, 50), (3, 0.3, 1_000)] {
        let mut random = StdRng::seed_from_u64(seed);
        let experiment = Experiment { rates: [rate, rate], people_a_day, days: 60 };
        let runs = 400;
        let (mut won, mut called, mut called_at_fixed_horizon) = (0, 0, 0);
        for _ in 0..runs {
            let looks = experiment.run(&mut random);
            let verdicts: Vec<_> = (1..=looks.len()).map(|day| judged(&looks[..day])).collect();
            let is_call = |verdict: Verdict| matches!(verdict, Verdict::Win | Verdict::Loss);
            won += usize::from(verdicts.iter().any(|found| found.verdict == Verdict::Win));
            called += usize::from(verdicts.iter().any(|found| is_call(found.verdict)));
            called_at_fixed_horizon += usize::from(verdicts.iter().any(|found| is_call(found.fixed_horizon)));
        }
        assert!(won * 100 <= runs * 5, "rate {rate}: won {won} of {runs}");
        assert!(called * 100 <= runs * 5, "rate {rate}: called {called} of {runs}");
        assert!(called_at_fixed_horizon * 100 >= runs * 15, "rate {rate}: {called_at_fixed_horizon} of {runs}");
    }
}

/// At one look 95 % of the intervals hold the truth, up to four standard errors of 2,000 runs.
#[test]
fn fixed_horizon_intervals_hold_as_often_as_they_say() {
    let mut random = StdRng::seed_from_u64(3);
    let runs = 2_000;
    let mut held = [0; 4];
    for _ in 0..runs {
        let (control, treatment) = (binomial(2_000, 0.1, &mut random), binomial(1_000, 0.12, &mut random));
        let samples = (control.sample().unwrap(), treatment.sample().unwrap());
        held[0] += usize::from(wilson(&control, ALPHA).unwrap().contains(0.1));
        held[1] += usize::from(newcombe(&control, &treatment, ALPHA).unwrap().interval.contains(0.02));
        held[2] += usize::from(once(difference(&samples.0, &samples.1)).contains(0.02));
        held[3] += usize::from(once(relative(&samples.0, &samples.1)).contains(0.2));
    }
    for held in held {
        assert!((1_860..=1_940).contains(&held), "{held} of {runs}");
    }
}

/// Each person has 1 to 5 views and a rate of clicks of their own. The treatment's clicks per view are 25 % up.
#[test]
fn ratios_of_people_who_are_alike_within_themselves_hold_as_often_as_they_say() {
    let mut random = StdRng::seed_from_u64(4);
    let runs = 500;
    let mut held = 0;
    for _ in 0..runs {
        let mut arm = |rate: f64| -> PairMoments {
            let mut person = || {
                let views: u64 = random.random_range(1..=5);
                // More views go with a higher rate: the mean over people is not the ratio of sums.
                let own_rate = rate * views as f64 * random.random_range(0.5..1.5);
                PairMoments::of(views as f64, binomial(views, own_rate, &mut random).successes as f64)
            };
            (0..1_000).map(|_| person()).sum()
        };
        let (control, treatment) = (ratio(&arm(0.04)).unwrap(), ratio(&arm(0.05)).unwrap());
        held += usize::from(once(relative(&control, &treatment)).contains(0.25));
    }
    // Four standard errors.
    assert!((456..=494).contains(&held), "{held} of {runs}");
}

/// The outcome before explains 81 % of the variance of that after; the treatment adds half of the control's mean.
#[test]
fn cuped_is_as_right_as_without_and_narrower() {
    let mut random = StdRng::seed_from_u64(5);
    let runs = 500;
    let (mut held, mut held_relative, mut left) = (0, 0, 0.0);
    for _ in 0..runs {
        let mut arm = |n: u32, factor: f64| -> PairMoments {
            let mut person = || {
                let (before, noise) = (10.0 + 3.0 * normal(&mut random), normal(&mut random));
                PairMoments::of(before, factor * (10.0 + 0.9 * (before - 10.0) + 3.0 * 0.19_f64.sqrt() * noise))
            };
            (0..n).map(|_| person()).sum()
        };
        let found = cuped(&arm(400, 1.0), &arm(200, 1.5)).unwrap();
        held += usize::from(once(found.difference).contains(5.0));
        held_relative += usize::from(once(found.relative).contains(0.5));
        left += found.variance_left / f64::from(runs);
    }
    assert!((456..=494).contains(&held), "{held} of {runs}");
    assert!((456..=494).contains(&held_relative), "relative: {held_relative} of {runs}");
    assert!(left < 0.35, "{left}");
}

/// χ² expects z = 6.3 ± 1 and alarms at 3.3; the sequential test, which may be looked at 20 times, alarms at about 4.6.
#[test]
fn a_split_of_51_to_49_among_100_000_people_is_found() {
    assert!(srm_chi_squared(&[51_000, 49_000], &HALVES).unwrap().alarm);
    assert!(sequential_srm(&[[51_000, 49_000]], &HALVES).unwrap().alarm);
    let mut random = StdRng::seed_from_u64(6);
    let (mut by_chi_squared, mut by_sequence) = (0, 0);
    for _ in 0..200 {
        let looks = split(5_000, 0.51, 20, &mut random);
        by_chi_squared += usize::from(srm_chi_squared(&looks[19], &HALVES).unwrap().alarm);
        by_sequence += usize::from(sequential_srm(&looks, &HALVES).unwrap().alarm);
    }
    assert!(by_chi_squared >= 198 && by_sequence >= 180, "{by_chi_squared} {by_sequence}");
}

/// The people of two arms up to each day, if so many come each day and the share `first` of them to the first.
fn split(people_a_day: u64, first: f64, days: usize, random: &mut StdRng) -> Vec<[u64; 2]> {
    let mut people = [0, 0];
    let mut day = || {
        let found = binomial(people_a_day, first, random);
        people = [people[0] + found.successes, people[1] + found.n - found.successes];
        people
    };
    (0..days).map(|_| day()).collect()
}

/// At 1,000 runs of 60 looks one may expect at most one false alarm of the sequential test.
#[test]
fn a_fair_split_is_hardly_ever_taken_for_a_mismatch() {
    let mut random = StdRng::seed_from_u64(7);
    let (mut sequential, mut at_the_end) = (0, 0);
    for _ in 0..1_000 {
        let looks = split(500, 0.5, 60, &mut random);
        sequential += usize::from(sequential_srm(&looks, &HALVES).unwrap().alarm);
        at_the_end += usize::from(srm_chi_squared(&looks[59], &HALVES).unwrap().alarm);
    }
    assert!(sequential <= 3 && at_the_end <= 5, "{sequential} {at_the_end}");
}

/// A bandit finds the best of three arms, every arm keeps its floor, and its own log tells what each arm would have
/// earned alone.
#[test]
fn a_bandit_finds_the_best_arm_and_its_log_tells_of_the_others() {
    let rates = [0.05, 0.10, 0.20];
    let runs = 20;
    let mut held = 0;
    for seed in 0..runs {
        let mut random = StdRng::seed_from_u64(seed);
        let mut seen = [Proportion::default(); 3];
        let mut always = [OffPolicySums::default(); 3];
        // Propensities are renewed once a day.
        for _ in 0..40 {
            let posteriors = seen.map(|arm| Posterior::after(&arm).unwrap());
            let propensities = propensities(&posteriors).unwrap();
            assert!(propensities.iter().all(|propensity| *propensity >= thompson::FLOOR));
            for _ in 0..500 {
                let Choice { arm, propensity } = choose(&propensities, &mut random).unwrap();
                let success = random.random_bool(rates[arm]);
                seen[arm] = seen[arm] + Proportion { successes: u64::from(success), n: 1 };
                for (target, sums) in always.iter_mut().enumerate() {
                    let logged = LoggedChoice {
                        reward: f64::from(u8::from(success)),
                        propensity,
                        target: f64::from(u8::from(target == arm)),
                        predicted_chosen: 0.1,
                        predicted_target: 0.1,
                    };
                    *sums = *sums + OffPolicySums::of(&logged).unwrap();
                }
            }
        }
        assert!(seen[2].n > 17_000 && seen[0].n > 100, "{seen:?}");
        for (sums, rate) in always.iter().zip(rates) {
            let found = sums.estimate(0.01).unwrap();
            assert!(found.effective_sample_size < found.n as f64);
            let estimates = [found.ips, found.snips, found.doubly_robust];
            held += estimates.iter().filter(|estimate| estimate.interval.contains(rate)).count();
        }
    }
    // 9 intervals a run, each of 99 %.
    assert!(held * 100 >= 9 * 20 * 95, "{held} of 180");
}

/// Times fall off exponentially with a mean of 1,000; everybody is last seen at a time between 0 and 3,000.
#[test]
fn medians_of_the_censored_are_true_and_those_of_the_done_alone_are_not() {
    let mut random = StdRng::seed_from_u64(9);
    let mut rows = Vec::new();
    for _ in 0..20_000 {
        let waits: f64 = Exp1.sample(&mut random);
        let (happens, seen) = ((1_000.0 * waits) as u64, random.random_range(0..3_000));
        let happened = u64::from(happens <= seen);
        rows.push(kaplan_meier::Waited { time: happens.min(seen), happened, censored: 1 - happened });
    }
    let near = |found: Option<u64>, expected: f64| (found.unwrap() as f64 / expected - 1.0).abs() < 0.05;
    let found = kaplan_meier::kaplan_meier(&rows).quartiles();
    assert!(near(found.first, 287.7) && near(found.median, 693.1) && near(found.third, 1_386.3), "{found:?}");
    let done: Vec<_> = rows.into_iter().filter(|row| row.happened > 0).collect();
    assert!(kaplan_meier::kaplan_meier(&done).median() < Some(600));
}
