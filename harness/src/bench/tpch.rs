//! The 22 queries of TPC-H, after batches of a fixed number of orders and after batches that are a share of all.

use anyhow::{Context, Result, ensure};
use pg_trickle_corpus::tpch::{Batch, Scale, Tpch};
use pg_trickle_corpus::workload::{Query, Workload};

use super::contest::{ByHand, Contest, cycle};
use super::ground::{Ground, settle};
use super::result::Case;
use crate::replay::{apply, load};

/// The cases: every query at every scale after every batch.
pub fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let sizes = &ground.sizes;
    let mut cases = Vec::new();
    for &scale in &sizes.scales {
        let whole = sizes.orders.iter().map(|&orders| (format!("{orders} orders"), Batch::of_orders(orders)));
        let shares = sizes
            .shares
            .iter()
            .map(|&share| (format!("{} % of orders", share * 100.0), Batch::of_share(scale, share)));
        for (words, batch) in whole.chain(shares) {
            cases.extend(after(ground, scale, &words, batch)?);
        }
    }
    Ok(cases)
}

/// All queries after one kind of batch, in a database of its own.
fn after(ground: &Ground, scale: Scale, words: &str, batch: Batch) -> Result<Vec<Case>> {
    let sizes = &ground.sizes;
    let workload = Tpch::new(scale, sizes.seed);
    let queries: Vec<Query> = workload
        .queries()
        .into_iter()
        .filter(|query| {
            sizes.queries.is_empty() || sizes.queries.iter().any(|wanted| query.is_called(wanted))
        })
        .collect();
    ensure!(!queries.is_empty(), "TPC-H has none of the queries {:?}", sizes.queries);
    let mut place = ground.place()?;
    load(&mut place.session.client, &workload)?;
    let mut contests = Vec::new();
    for query in &queries {
        let case = Case {
            name: format!("{}, scale {scale}, {words}", query.label),
            series: format!("{}, {words}", query.label),
            source_rows: Some(scale.orders() as u64),
            change_rows: Some(batch.orders() as u64),
            ..Case::default()
        };
        contests.push(Contest::over(ground, &mut place, case, query, by_hand(query)?)?);
    }
    let client = &mut place.session.client;
    settle(client)?;
    for number in ground.cycles() {
        cycle(&mut contests, client, number, |client, number| {
            apply(client, &batch.cycle(scale, sizes.seed, number))
        })?;
    }
    contests.into_iter().map(|contest| contest.finish(client)).collect()
}

/// What is written by hand for three of the queries, with their own conditions.
fn by_hand(query: &Query) -> Result<Option<ByHand>> {
    let parts = || {
        let (select, rest) = query.sql.split_once("\nwhere")?;
        let end = rest.find("\ngroup by").unwrap_or(rest.len());
        Some((select, &rest[..end], &rest[end..]))
    };
    let setup = match query.key.as_str() {
        "1" => include_str!("by_hand/q1.sql"),
        "3" => include_str!("by_hand/q3.sql"),
        "6" => include_str!("by_hand/q6.sql"),
        _ => return Ok(None),
    };
    let (select, condition, rest) = parts().with_context(|| format!("{} has no WHERE", query.label))?;
    let group_by = rest.split("\norder by").next().unwrap_or_default();
    let of_changed = format!("{select}\nwhere l_orderkey = ANY (changed) AND ({condition}){group_by}");
    let setup = setup
        .replace("{condition}", &format!("({condition})"))
        .replace("{rows of all}", &format!("{select}\nwhere{condition}{group_by}"))
        .replace("{rows of changed}", &of_changed);
    let name = format!("q{}", query.key);
    Ok(Some(ByHand {
        setup,
        refresh: format!("SELECT by_hand.{name}_refresh()"),
        table: format!("by_hand.{name}"),
    }))
}
