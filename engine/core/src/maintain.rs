//! From an analysed query to everything a stream table needs: state tables, key, programs.

mod likeness;
mod polling;
mod recursion;
mod work;

pub use work::{MissingIndex, Work, WorkClass};

use crate::apply;
use crate::delta::{Changed, Sharing, differentiate, projections_last};
use crate::normalize::normalize;
use crate::plan::{DeltaOf, Plan, Round};
use crate::program::{Action, Counts, Identity, Program, Step, source_delta_name};
use crate::query::{Construct, SourceInfo, Unsupported};
use crate::refusal::Refusal;
use crate::sql::identity::consolidate;
use crate::sql::lower::{Lowering, NotLowerable, Relations, StoredRelation};
use crate::sql::select::union_all;
use crate::stage::aggregate::AggregateStage;
use crate::stage::arrangement::{Arrangement, Of};
use crate::stage::polled::Polled;
use crate::stage::recursion::change_name;
use crate::stage::top_k::TopKStage;
use crate::stage::window::WindowStage;
use crate::stage::window::span::span;
use crate::stage::{Operator, Stage, StageSql, Staged, cut};
use crate::types::{Column, SourceId, StageId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Names of one stream table's relations, quoted and schema-qualified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The stream table, e.g. `public.orders_by_day`.
    pub stream_table: String,
    /// What a state table's name begins with; the stage number follows. E.g. `pgtrickle_state.s_17_`.
    pub state_prefix: String,
}

/// What the apply step must respect on the user's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ApplyOptions {
    /// The table has a unique or exclusion constraint besides its key: rows are replaced in one statement instead of
    /// updated in place (`design-review.md` 13.1).
    pub has_extra_unique: bool,
    /// The contents were made under another definition: its key need not be theirs, nor its columns without NULLs. Only
    /// a recompute can deal with them.
    pub is_foreign: bool,
}

/// How the rows of a stream table are addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    pub columns: Vec<Column>,
    /// Positions of the key; None for a bag. An empty key means at most one row.
    pub key: Option<Vec<usize>>,
}

impl TableShape {
    /// The same columns with nothing known of them.
    pub fn as_bag(&self) -> TableShape {
        let columns = self.columns.iter().map(|column| Column { nullable: true, ..column.clone() });
        TableShape { columns: columns.collect(), key: None }
    }

    /// What a recompute may rely on.
    fn trusted(&self, options: ApplyOptions) -> TableShape {
        if options.is_foreign { self.as_bag() } else { self.clone() }
    }
}

/// FULL: the difference between a query and the stream table is computed and applied; nothing else is touched.
/// `query_sql` has the stream table's columns in order.
pub fn recompute_by_query(
    shape: &TableShape,
    names: &Names,
    query_sql: &str,
    options: ApplyOptions,
) -> Program {
    let shape = &shape.trusted(options);
    let mut steps = vec![apply::output_step(&shape.columns, &apply::difference(shape, names, query_sql))];
    steps.extend(apply::apply_steps(shape, names, options));
    Program { steps, output: Some(apply::OUTPUT.to_owned()) }
}

/// Fills an empty stream table from a query.
pub fn populate_by_query(shape: &TableShape, names: &Names, query_sql: &str) -> Program {
    Program { steps: vec![apply::populate_step(shape, names, query_sql)], output: None }
}

/// Statements that create what the apply step needs on a new, empty stream table.
pub fn table_ddl(shape: &TableShape, names: &Names) -> Vec<String> {
    apply::table_ddl(shape, names)
}

/// A query that can be maintained by its changes.
#[derive(Debug, Clone)]
pub struct Maintenance {
    sources: Vec<SourceInfo>,
    staged: Staged,
    shape: TableShape,
    names: Names,
    /// The stages that keep their input.
    arranged: BTreeSet<StageId>,
    /// For each recursion, what a change of a round adds to the next one.
    follows: BTreeMap<StageId, String>,
}

/// Normalises `plan`, cuts it into stages and proves that every program can be built, or says what stands in the way.
/// `states` are the state tables there are; if there are none, the indexes of today decide which stages keep their input.
pub fn plan(
    plan: &Plan,
    sources: &[SourceInfo],
    names: &Names,
    states: &[String],
) -> Result<Maintenance, Unsupported> {
    let staged = cut(&normalize(plan)?)?;
    let shape =
        TableShape { columns: plan.columns(), key: staged.result.keys().into_iter().min_by_key(Vec::len) };
    let (arranged, follows) = Default::default();
    let mut maintenance = Maintenance {
        sources: polling::known(sources),
        staged,
        shape,
        names: names.clone(),
        arranged,
        follows,
    };
    maintenance.follows = maintenance.follow_rounds()?;
    maintenance.arrange(states);
    maintenance.populate()?;
    let everything = (0..sources.len() as u32).map(SourceId).collect();
    maintenance.delta(&everything, ApplyOptions::default())?;
    Ok(maintenance)
}

/// The change of a fragment.
fn fragment_change(
    plan: &Plan,
    changed: &Changed,
    sharing: &mut Sharing,
) -> Result<Option<Plan>, Unsupported> {
    if sharing.is_careful {
        return differentiate(&projections_last(plan), changed, sharing);
    }
    differentiate(plan, changed, sharing)
}

impl Maintenance {
    /// Columns and key of the stream table.
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// The stages and the fragment over them.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// True if the stream table changes as time passes: its deltas are then those between two times, and the executor
    /// provides the earlier one as `pgtrickle.frontier_time()`.
    pub fn reads_time(&self) -> bool {
        let mut found = false;
        let stages = self.staged.stages.iter().map(Stage::plan);
        for plan in stages.chain([self.staged.result.clone()]) {
            plan.visit(&mut |plan| found |= plan.expressions().iter().any(|expr| expr.reads_time()));
        }
        found
    }

    /// Statements that create the state tables and their indexes.
    pub fn state_ddl(&self) -> Vec<String> {
        let mut statements: Vec<String> = self.polled().flat_map(|polled| polled.ddl()).collect();
        for stage in &self.staged.stages {
            statements.extend(self.with_stage(stage, |stage| stage.ddl()));
            statements.extend(self.arrangement(stage).iter().flat_map(Arrangement::ddl));
        }
        statements.extend(self.lookup_indexes());
        statements
    }

    /// Qualified names of the state tables: copies of polled sources, then of each stage its own and that of its
    /// arrangement.
    pub fn state_tables(&self) -> Vec<String> {
        let tables = |stage: &Stage| {
            let rows = self.arranged.contains(&stage.id).then(|| self.arrangement_table(stage.id));
            [self.state_table(stage.id)].into_iter().chain(rows)
        };
        self.polled().map(|polled| polled.table).chain(self.staged.stages.iter().flat_map(tables)).collect()
    }

    /// The stage whose own state a table holds; None for an arrangement or a copy.
    pub fn stage_of(&self, table: &str) -> Option<&Stage> {
        self.staged.stages.iter().find(|stage| self.state_table(stage.id) == table)
    }

    /// Statements that create the index by which the stream table's rows are found.
    pub fn table_ddl(&self) -> Vec<String> {
        table_ddl(&self.shape, &self.names)
    }

    /// Fills empty states and the empty stream table.
    pub fn populate(&self) -> Result<Program, Unsupported> {
        let mut steps = self.fill_states()?;
        steps.push(apply::populate_step(&self.shape, &self.names, &self.new_state(&self.staged.result)?));
        Ok(Program { steps, output: None })
    }

    /// Rebuilds all states and applies the difference to the stream table.
    pub fn recompute(&self, options: ApplyOptions) -> Result<Program, Unsupported> {
        let forget = self.state_tables().into_iter().map(|table| Step {
            label: format!("forget {table}"),
            identity: Identity::Extension,
            when: None,
            action: Action::Modify {
                sql: format!("DELETE FROM {table}"),
                expect: None,
                counts: Counts::State,
            },
        });
        let mut steps: Vec<Step> = forget.collect();
        steps.extend(self.fill_states()?);
        let query = self.new_state(&self.staged.result)?;
        let shape = self.shape.trusted(options);
        let difference = apply::difference(&shape, &self.names, &query);
        steps.push(apply::output_step(&shape.columns, &difference));
        steps.extend(apply::apply_steps(&shape, &self.names, options));
        Ok(Program { steps, output: Some(apply::OUTPUT.to_owned()) })
    }

    /// Moves states and stream table by the changes of `changed` sources, which the executor provides as relations
    /// (see [`crate::program::Input`]). Branches of unchanged sources are not in the program.
    pub fn delta(&self, changed: &BTreeSet<SourceId>, options: ApplyOptions) -> Result<Program, Unsupported> {
        self.delta_with(changed, options, Sharing::default())
    }

    /// The same in more steps: no expression is evaluated for a row that is neither in the state before nor in that
    /// after. For a change that raised.
    pub fn careful_delta(
        &self,
        changed: &BTreeSet<SourceId>,
        options: ApplyOptions,
    ) -> Result<Program, Unsupported> {
        self.delta_with(changed, options, Sharing { is_careful: true, ..Sharing::default() })
    }

    fn delta_with(
        &self,
        changed: &BTreeSet<SourceId>,
        options: ApplyOptions,
        mut sharing: Sharing,
    ) -> Result<Program, Unsupported> {
        let mut changed = Changed { time: self.reads_time(), ..Changed::sources(changed.iter().copied()) };
        let mut shared = 0;
        let is_changed = |polled: &Polled| changed.sources.contains(&polled.source);
        let mut steps: Vec<Step> =
            self.polled().filter(is_changed).flat_map(|polled| polled.follow()).collect();
        for stage in &self.staged.stages {
            let Some(delta) = self.input_change(stage, &changed, &mut sharing)? else { continue };
            self.share(&mut steps, &sharing, &mut shared)?;
            let arrangement = self.arrangement(stage);
            let input = match &arrangement {
                Some(arrangement) => arrangement.read(),
                None => self.new_state(&stage.input)?,
            };
            let into = self.delta_name(DeltaOf::Stage(stage.id));
            let columns = delta.columns();
            let sql = self.consolidated(stage, &columns, &self.change(&delta)?);
            self.with_stage(stage, |stage| {
                steps.push(Step {
                    label: format!("stage {}: input change", stage.id().0),
                    identity: Identity::Owner,
                    when: None,
                    action: Action::Select {
                        into: stage.input_name(),
                        columns: apply::change_columns(&columns),
                        sql,
                    },
                });
                steps.extend(arrangement.iter().flat_map(|rows| rows.steps(&stage.input_name())));
                steps.extend(stage.steps(&input, &into));
            });
            changed.stages.insert(stage.id);
        }
        let Some(delta) = fragment_change(&self.staged.result, &changed, &mut sharing)? else {
            return Ok(Program { steps, output: None });
        };
        self.share(&mut steps, &sharing, &mut shared)?;
        steps.push(apply::output_step(&self.shape.columns, &self.change(&delta)?));
        steps.extend(apply::apply_steps(&self.shape, &self.names, options));
        Ok(Program { steps, output: Some(apply::OUTPUT.to_owned()) })
    }

    /// The steps that compute the shared changes from number `done` on.
    fn share(&self, steps: &mut Vec<Step>, sharing: &Sharing, done: &mut usize) -> Result<(), Unsupported> {
        for (index, plan) in sharing.plans.iter().enumerate().skip(*done) {
            let columns = plan.columns();
            steps.push(Step {
                label: format!("shared change {index}"),
                identity: Identity::Owner,
                when: None,
                action: Action::Select {
                    into: self.delta_name(DeltaOf::Shared(index as u32)),
                    columns: apply::change_columns(&columns),
                    sql: consolidate(&columns, &self.change(plan)?),
                },
            });
        }
        *done = sharing.plans.len();
        Ok(())
    }

    /// A query for the stream table's contents from its sources alone, as the stages define it: where the defining
    /// query leaves the order of ties open, this one orders them as they are kept.
    pub fn query(&self) -> Result<String, Unsupported> {
        let mut inlined = Inlined { maintenance: self, states: vec![] };
        for stage in &self.staged.stages {
            if let Operator::Recursion { all, step } = &stage.operator {
                let state = recursion::inlined(&inlined, stage, *all, step).map_err(not_lowerable)?;
                inlined.states.push(state);
                continue;
            }
            let input = Lowering::new(&inlined).lower(&stage.input).map_err(not_lowerable)?;
            let filling = self.with_stage(stage, |stage| stage.populate(&union_all(&input, false)));
            let [Step { action: Action::Select { sql, .. }, .. }, _] = filling.as_slice() else {
                return Err(not_lowerable(NotLowerable("state that is filled in several steps")));
            };
            inlined.states.push(format!("({sql})"));
        }
        let result = Lowering::new(&inlined).lower(&self.staged.result).map_err(not_lowerable)?;
        Ok(union_all(&result, false))
    }

    /// True if the defining query leaves to the server which of several rows comes first.
    pub fn breaks_ties(&self) -> bool {
        self.staged.stages.iter().any(Stage::breaks_ties)
    }

    fn fill_states(&self) -> Result<Vec<Step>, Unsupported> {
        let mut steps: Vec<Step> = self.polled().flat_map(|polled| polled.fill()).collect();
        for stage in &self.staged.stages {
            let mut input = self.new_state(&stage.input)?;
            if let Some(arrangement) = self.arrangement(stage) {
                steps.extend(arrangement.populate(&input));
                input = arrangement.read();
            }
            steps.extend(self.with_stage(stage, |stage| stage.populate(&input)));
        }
        Ok(steps)
    }

    /// A query for the state of a fragment after the change.
    fn new_state(&self, plan: &Plan) -> Result<String, Unsupported> {
        let blocks = Lowering::new(self).lower(plan).map_err(not_lowerable)?;
        Ok(union_all(&blocks, false))
    }

    /// A query for a change, with weights.
    fn change(&self, plan: &Plan) -> Result<String, Unsupported> {
        let blocks = Lowering::new(self).lower(plan).map_err(not_lowerable)?;
        Ok(union_all(&blocks, true))
    }

    fn state_table(&self, stage: StageId) -> String {
        format!("{}{}", self.names.state_prefix, stage.0)
    }

    fn arrangement_table(&self, stage: StageId) -> String {
        format!("{}{}_rows", self.names.state_prefix, stage.0)
    }

    /// The arrangement of a stage that keeps its input.
    fn arrangement<'a>(&'a self, stage: &'a Stage) -> Option<Arrangement<'a>> {
        if !self.arranged.contains(&stage.id) {
            return None;
        }
        let keys = match &stage.operator {
            Operator::Aggregate { keys, .. } => keys,
            Operator::TopK { partition, .. } | Operator::Window { partition, .. } => partition,
            Operator::Recursion { .. } => return None,
        };
        Some(Arrangement {
            of: Of::Stage(stage.id),
            table: self.arrangement_table(stage.id),
            columns: stage.input.columns(),
            keys,
            is_set: !stage.input.keys().is_empty(),
        })
    }

    fn with_stage<T>(&self, stage: &Stage, use_it: impl FnOnce(&dyn StageSql) -> T) -> T {
        self.with_stage_in(self.state_table(stage.id), stage, use_it)
    }

    /// The stage with its state in `table`.
    fn with_stage_in<T>(&self, table: String, stage: &Stage, use_it: impl FnOnce(&dyn StageSql) -> T) -> T {
        let input = stage.input.columns();
        match &stage.operator {
            Operator::Aggregate { keys, calls } => {
                let output = stage.columns();
                let arrangement = self.arrangement(stage);
                use_it(&AggregateStage {
                    id: stage.id,
                    table,
                    input: &input,
                    keys,
                    calls,
                    output,
                    arrangement,
                })
            }
            Operator::TopK { partition, order, limit, offset, with_ties } => use_it(&TopKStage {
                id: stage.id,
                table,
                columns: &input,
                partition,
                order,
                limit: limit.as_ref(),
                offset: offset.as_ref(),
                with_ties: *with_ties,
                arrangement: self.arrangement(stage),
            }),
            Operator::Window { partition, order, calls } => {
                let plan = stage.plan();
                let keys = stage.input.keys();
                let span = span(calls, order, &input, !keys.is_empty());
                use_it(&WindowStage {
                    id: stage.id,
                    table,
                    input: &input,
                    input_keys: keys,
                    partition,
                    order,
                    calls,
                    output: plan.columns(),
                    is_keyed: !plan.keys().is_empty(),
                    span,
                })
            }
            Operator::Recursion { all, .. } => use_it(&self.recursion(table, stage, *all)),
        }
    }
}

impl Relations for Maintenance {
    fn source(&self, source: SourceId) -> &SourceInfo {
        &self.sources[source.0 as usize]
    }

    fn copy_of(&self, source: SourceId, alias: &str) -> Option<StoredRelation> {
        self.polled_source(source).map(|polled| polled.stored(alias))
    }

    fn stored(&self, stage: StageId, alias: &str) -> StoredRelation {
        self.with_stage(&self.staged.stages[stage.0 as usize], |stage| stage.stored(alias))
    }

    fn rounds(&self, round: &Round, alias: &str) -> StoredRelation {
        self.old_rounds(round, alias)
    }

    fn delta_name(&self, of: DeltaOf) -> String {
        match of {
            DeltaOf::Source(source) => source_delta_name(source),
            DeltaOf::Stage(stage) => format!("pgt_delta_stage_{}", stage.0),
            DeltaOf::Shared(index) => format!("pgt_shared_{index}"),
            DeltaOf::Round(stage) => change_name(stage),
        }
    }
}

/// Sources, and stages with a query in place of their state table.
struct Inlined<'a> {
    maintenance: &'a Maintenance,
    states: Vec<String>,
}

impl Relations for Inlined<'_> {
    fn source(&self, source: SourceId) -> &SourceInfo {
        self.maintenance.source(source)
    }

    fn stored(&self, stage: StageId, alias: &str) -> StoredRelation {
        let index = stage.0 as usize;
        let staged = &self.maintenance.staged.stages[index];
        self.maintenance.with_stage_in(self.states[index].clone(), staged, |stage| stage.stored(alias))
    }

    fn rounds(&self, round: &Round, alias: &str) -> StoredRelation {
        recursion::row_of_round(round, alias)
    }

    fn delta_name(&self, of: DeltaOf) -> String {
        self.maintenance.delta_name(of)
    }
}

fn not_lowerable(NotLowerable(name): NotLowerable) -> Unsupported {
    Unsupported {
        construct: Construct { name: name.to_owned(), position: None },
        reason: Refusal::NotLowerable,
    }
}
