//! Laws of the rules, on random plans and data. `PROPTEST_CASES` scales them; failures persist under
//! `oracle/proptest-regressions` and are printed with plan, data and difference.

use pg_trickle_core::delta::{Sharing, differentiate};
use pg_trickle_core::normalize::{is_correlated, normalize};
use pg_trickle_core::plan::Plan;
use pg_trickle_core::plan::text::parse;
use pg_trickle_core::stage::window;
use pg_trickle_oracle::generate::{Choices, Fragment, Seed, World, plan, seeds};
use pg_trickle_oracle::law::{self, Outcome, Violation};
use pg_trickle_oracle::span;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError, TestCaseResult};

/// The configuration of every law: seeds of failures are kept with the oracle.
fn config() -> ProptestConfig {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../oracle/proptest-regressions/laws.txt");
    let default = ProptestConfig::default();
    // Unless the environment says otherwise.
    let is_bounded = std::env::var_os("PROPTEST_MAX_SHRINK_ITERS").is_some();
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        max_shrink_iters: if is_bounded { default.max_shrink_iters } else { 50_000 },
        ..default
    }
}

fn case(seed: &Seed, fragment: Fragment, stages: bool) -> (World, Plan) {
    let world = World::new(&mut Choices::new(&seed.tables), &mut Choices::new(&seed.changes), stages);
    let plan = plan(&world, fragment, &mut Choices::new(&seed.plan));
    (world, plan)
}

fn judged(result: Result<Outcome, Violation>) -> TestCaseResult {
    match result {
        Ok(_) => Ok(()),
        Err(violation) => Err(TestCaseError::fail(violation.to_string())),
    }
}

proptest! {
    #![proptest_config(config())]

    /// The change of a fragment is the difference of its states.
    #[test]
    fn change_is_difference(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Bilinear, true);
        judged(law::delta(&plan, &world, &differentiate))?;
    }

    /// A normalised query has the query's rows: unnesting and pushed filters change nothing.
    #[test]
    fn normalized_is_same(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Whole, false);
        judged(law::same_rows(&plan, &world.old(), &normalize))?;
    }

    /// Stage by stage, a query and its change come out as one evaluation gives them.
    #[test]
    fn stages_make_up_the_plan(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Stateful, false);
        judged(law::pipeline(&plan, &world, &|plan: &Plan| Ok(plan.clone()), &differentiate))?;
    }

    /// The same for whole queries, with subqueries.
    #[test]
    fn whole_queries_are_maintained(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Whole, false);
        judged(law::pipeline(&plan, &world, &normalize, &differentiate))?;
    }

    /// A window's results outside of a change's span stay, and those inside follow from what the span says.
    #[test]
    fn spans_hold_what_changes(seed in seeds()) {
        let tables = &mut Choices::new(&seed.tables);
        let world = World::of_partitions(tables, &mut Choices::new(&seed.changes));
        let plan = plan(&world, Fragment::Window, &mut Choices::new(&seed.plan));
        judged(span::law(&plan, &world, &|plan: &Plan| Ok(plan.clone()), &window::span::span))?;
    }

    /// The text of a plan and of its change says all of them.
    #[test]
    fn text_round_trips(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Whole, true);
        prop_assert_eq!(parse(&plan.to_string()), Ok(plan));
        let plan = self::plan(&world, Fragment::Bilinear, &mut Choices::new(&seed.plan));
        if let Ok(Some(change)) = differentiate(&plan, &world.changed(), &mut Sharing::default()) {
            prop_assert_eq!(parse(&change.to_string()), Ok(change));
        }
    }

    /// What is derived of a plan is true of its rows.
    #[test]
    fn derived_properties_hold(seed in seeds()) {
        let (world, plan) = case(&seed, Fragment::Whole, false);
        judged(law::derived_properties(&plan, &world.old()))?;
    }
}

/// Cases of a fixed stream of seeds, for statements about the distribution.
fn fixed_cases(count: usize) -> impl Iterator<Item = Seed> {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = seeds();
    (0..count).filter_map(move |_| strategy.new_tree(&mut runner).ok().map(|tree| tree.current()))
}

/// Recursions that look at an outer row are maintained like others, wherever the row is looked at.
#[test]
fn recursions_of_outer_rows_are_among_the_cases() {
    let (mut held, mut changing) = (0, 0);
    for seed in fixed_cases(2000) {
        let (world, plan) = case(&seed, Fragment::Whole, false);
        let mut is_outward = false;
        plan.visit(&mut |node| {
            is_outward |= matches!(node, Plan::Recursive(r) if is_correlated(&r.step, 1));
        });
        if !is_outward {
            continue;
        }
        match law::pipeline(&plan, &world, &normalize, &differentiate) {
            Ok(Outcome::Held(0)) => held += 1,
            Ok(Outcome::Held(_)) => changing += 1,
            Ok(_) => {}
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("recursions of outer rows: changing {changing}, not {held}");
    assert!(changing > 10, "{changing} of them change");
}

/// Unnesting has no case that it leaves out.
#[test]
fn no_dependent_join_is_refused() {
    for seed in fixed_cases(1000) {
        let (_, plan) = case(&seed, Fragment::Whole, false);
        let normal = normalize(&plan).unwrap_or_else(|refusal| panic!("{refusal:?}\n{plan}"));
        normal.visit(&mut |node| assert!(!matches!(node, Plan::DependentJoin(_)), "{normal}"));
    }
}

/// The generator is worth its time: few cases say nothing, and in many the result changes.
#[test]
fn generated_cases_are_not_trivial() {
    const CASES: usize = 300;
    let unchanged = |plan: &Plan| Ok(plan.clone());
    for fragment in [Fragment::Bilinear, Fragment::Stateful, Fragment::Whole] {
        let (mut held, mut changing, mut refused, mut discarded) = (0, 0, 0, 0);
        for seed in fixed_cases(CASES) {
            let (world, plan) = case(&seed, fragment, fragment == Fragment::Bilinear);
            let outcome = match fragment {
                Fragment::Bilinear => law::delta(&plan, &world, &differentiate),
                Fragment::Stateful => law::pipeline(&plan, &world, &unchanged, &differentiate),
                Fragment::Whole | Fragment::Window => {
                    law::pipeline(&plan, &world, &normalize, &differentiate)
                }
            };
            match outcome {
                Ok(Outcome::Held(0)) => held += 1,
                Ok(Outcome::Held(_)) => changing += 1,
                Ok(Outcome::Refused(_)) => refused += 1,
                Ok(Outcome::Discarded(_)) => discarded += 1,
                Err(violation) => panic!("{violation}"),
            }
        }
        println!("{fragment:?}: changing {changing}, not {held}, refused {refused}, discarded {discarded}");
        assert!(discarded * 20 < CASES, "{fragment:?}: {discarded} of {CASES} cases are discarded");
        assert!(changing * 5 > CASES, "{fragment:?}: the result changes in {changing} of {CASES} cases");
    }
}
