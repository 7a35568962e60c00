//! The core without a server: what it costs to read a plan, to normalise it, to differentiate it, and to make the SQL of a
//! refresh. `cargo bench -p pg_trickle_benches --features measure`, or `.. -- program/job_29a` for one.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pg_trickle_benches::{changes, names, queries};
use pg_trickle_core::maintain::{self, ApplyOptions};
use pg_trickle_core::normalize::normalize;
use pg_trickle_core::plan::text::parse;
use pg_trickle_core::types::SourceId;

fn core(criterion: &mut Criterion) {
    for (name, query) in queries().expect("the plans are there") {
        let text = query.text();
        let plan = query.plan().expect("a plan");
        let names = names();
        let maintenance = maintain::plan(&plan, &query.sources, &names, &[]).expect("is maintained");
        let every: BTreeSet<SourceId> = (0..query.sources.len() as u32).map(SourceId).collect();
        let one = BTreeSet::from([SourceId(0)]);
        let program = |changed: &BTreeSet<SourceId>| maintenance.delta(changed, ApplyOptions::default());

        criterion.bench_function(&format!("parse/{name}"), |b| b.iter(|| parse(black_box(&text))));
        criterion.bench_function(&format!("print/{name}"), |b| b.iter(|| black_box(&plan).to_string()));
        criterion.bench_function(&format!("normalize/{name}"), |b| b.iter(|| normalize(black_box(&plan))));
        criterion.bench_function(&format!("plan/{name}"), |b| {
            b.iter(|| maintain::plan(black_box(&plan), &query.sources, &names, &[]))
        });
        criterion.bench_function(&format!("differentiate/{name}"), |b| {
            b.iter(|| changes(black_box(maintenance.staged()), query.sources.len()))
        });
        criterion.bench_function(&format!("program/{name}"), |b| b.iter(|| program(black_box(&every))));
        criterion.bench_function(&format!("program of one source/{name}"), |b| {
            b.iter(|| program(black_box(&one)))
        });
    }
}

/// 161 functions: a second each is enough where all are deterministic.
fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args()
}

criterion_group! { name = benches; config = settings(); targets = core }
criterion_main!(benches);
