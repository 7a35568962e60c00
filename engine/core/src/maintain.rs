//! From an analysed query to everything a stream table needs: state tables, key, programs.

use crate::apply;
use crate::delta::{Changed, Sharing, differentiate};
use crate::normalize::normalize;
use crate::plan::{DeltaOf, Plan};
use crate::program::{Action, Counts, Identity, Program, Step, source_delta_name};
use crate::query::{Construct, SourceInfo, Unsupported};
use crate::sql::identity::consolidate;
use crate::sql::lower::{Lowering, NotLowerable, Relations, StoredRelation};
use crate::sql::select::union_all;
use crate::stage::aggregate::AggregateStage;
use crate::stage::top_k::TopKStage;
use crate::stage::{Operator, Stage, Staged, cut};
use crate::types::{Column, SourceId, StageId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
}

/// How the rows of a stream table are addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    pub columns: Vec<Column>,
    /// Positions of the key; None for a bag. An empty key means at most one row.
    pub key: Option<Vec<usize>>,
}

/// FULL: the difference between a query and the stream table is computed and applied; nothing else is touched.
/// `query_sql` has the stream table's columns in order.
pub fn recompute_by_query(
    shape: &TableShape,
    names: &Names,
    query_sql: &str,
    options: ApplyOptions,
) -> Program {
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
}

/// Normalises `plan`, cuts it into stages and proves that every program can be built, or says what stands in the way.
pub fn plan(plan: &Plan, sources: &[SourceInfo], names: &Names) -> Result<Maintenance, Unsupported> {
    let staged = cut(&normalize(plan)?)?;
    let shape =
        TableShape { columns: plan.columns(), key: staged.result.keys().into_iter().min_by_key(Vec::len) };
    let maintenance = Maintenance { sources: sources.to_vec(), staged, shape, names: names.clone() };
    maintenance.populate()?;
    let everything = (0..sources.len() as u32).map(SourceId).collect();
    maintenance.delta(&everything, ApplyOptions::default())?;
    Ok(maintenance)
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

    /// Statements that create the state tables and their indexes.
    pub fn state_ddl(&self) -> Vec<String> {
        self.staged.stages.iter().flat_map(|stage| self.with_stage(stage, |stage| stage.ddl())).collect()
    }

    /// Qualified names of the state tables.
    pub fn state_tables(&self) -> Vec<String> {
        self.staged.stages.iter().map(|stage| self.state_table(stage.id)).collect()
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
        let forget = self.staged.stages.iter().map(|stage| Step {
            label: format!("stage {}: forget", stage.id.0),
            identity: Identity::Extension,
            when: None,
            action: Action::Modify {
                sql: format!("DELETE FROM {}", self.state_table(stage.id)),
                expect: None,
                counts: Counts::State,
            },
        });
        let mut steps: Vec<Step> = forget.collect();
        steps.extend(self.fill_states()?);
        let query = self.new_state(&self.staged.result)?;
        let difference = apply::difference(&self.shape, &self.names, &query);
        steps.push(apply::output_step(&self.shape.columns, &difference));
        steps.extend(apply::apply_steps(&self.shape, &self.names, options));
        Ok(Program { steps, output: Some(apply::OUTPUT.to_owned()) })
    }

    /// Moves states and stream table by the changes of `changed` sources, which the executor provides as relations
    /// (see [`crate::program::Input`]). Branches of unchanged sources are not in the program.
    pub fn delta(&self, changed: &BTreeSet<SourceId>, options: ApplyOptions) -> Result<Program, Unsupported> {
        let mut changed = Changed::sources(changed.iter().copied());
        let mut sharing = Sharing::default();
        let mut steps = vec![];
        for stage in &self.staged.stages {
            let Some(delta) = differentiate(&stage.input, &changed, &mut sharing)? else { continue };
            self.share(&mut steps, &sharing)?;
            let columns = stage.input.columns();
            let input = self.new_state(&stage.input)?;
            let into = self.delta_name(DeltaOf::Stage(stage.id));
            let body = self.change(&delta)?;
            self.with_stage(stage, |stage| {
                steps.push(Step {
                    label: format!("{}: input change", stage.label()),
                    identity: Identity::Owner,
                    when: None,
                    action: Action::Select {
                        into: stage.input_name(),
                        columns: apply::change_columns(&columns),
                        sql: consolidate(&columns, &body),
                    },
                });
                steps.extend(stage.steps(&input, &into));
            });
            changed.stages.insert(stage.id);
        }
        let Some(delta) = differentiate(&self.staged.result, &changed, &mut sharing)? else {
            return Ok(Program { steps, output: None });
        };
        self.share(&mut steps, &sharing)?;
        steps.push(apply::output_step(&self.shape.columns, &self.change(&delta)?));
        steps.extend(apply::apply_steps(&self.shape, &self.names, options));
        Ok(Program { steps, output: Some(apply::OUTPUT.to_owned()) })
    }

    /// The steps that compute shared changes not yet computed.
    fn share(&self, steps: &mut Vec<Step>, sharing: &Sharing) -> Result<(), Unsupported> {
        let done = steps.iter().filter(|step| step.label.starts_with(SHARED_LABEL)).count();
        for (index, plan) in sharing.plans.iter().enumerate().skip(done) {
            let columns = plan.columns();
            steps.push(Step {
                label: format!("{SHARED_LABEL} {index}"),
                identity: Identity::Owner,
                when: None,
                action: Action::Select {
                    into: self.delta_name(DeltaOf::Shared(index as u32)),
                    columns: apply::change_columns(&columns),
                    sql: consolidate(&columns, &self.change(plan)?),
                },
            });
        }
        Ok(())
    }

    fn fill_states(&self) -> Result<Vec<Step>, Unsupported> {
        let mut steps = vec![];
        for stage in &self.staged.stages {
            let input = self.new_state(&stage.input)?;
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

    fn with_stage<T>(&self, stage: &Stage, use_it: impl FnOnce(&dyn StageSql) -> T) -> T {
        let table = self.state_table(stage.id);
        let input = stage.input.columns();
        match &stage.operator {
            Operator::Aggregate { keys, calls } => {
                let output = stage.columns();
                use_it(&AggregateStage { id: stage.id, table, input: &input, keys, calls, output })
            }
            Operator::TopK { partition, order, limit, offset } => use_it(&TopKStage {
                id: stage.id,
                table,
                columns: &input,
                partition,
                order,
                limit: limit.as_ref(),
                offset: offset.as_ref(),
            }),
        }
    }
}

const SHARED_LABEL: &str = "shared change";

impl Relations for Maintenance {
    fn source(&self, source: SourceId) -> &SourceInfo {
        &self.sources[source.0 as usize]
    }

    fn stored(&self, stage: StageId, alias: &str) -> StoredRelation {
        self.with_stage(&self.staged.stages[stage.0 as usize], |stage| stage.stored(alias))
    }

    fn delta_name(&self, of: DeltaOf) -> String {
        match of {
            DeltaOf::Source(source) => source_delta_name(source),
            DeltaOf::Stage(stage) => format!("pgt_delta_stage_{}", stage.0),
            DeltaOf::Shared(index) => format!("pgt_shared_{index}"),
        }
    }
}

/// What every kind of stage renders.
trait StageSql {
    fn label(&self) -> String;
    fn ddl(&self) -> Vec<String>;
    fn stored(&self, alias: &str) -> StoredRelation;
    fn input_name(&self) -> String;
    fn steps(&self, input: &str, into: &str) -> Vec<Step>;
    fn populate(&self, input: &str) -> Vec<Step>;
}

impl StageSql for AggregateStage<'_> {
    fn label(&self) -> String {
        format!("stage {}", self.id.0)
    }

    fn ddl(&self) -> Vec<String> {
        AggregateStage::ddl(self)
    }

    fn stored(&self, alias: &str) -> StoredRelation {
        AggregateStage::stored(self, alias)
    }

    fn input_name(&self) -> String {
        AggregateStage::input_name(self)
    }

    fn steps(&self, input: &str, into: &str) -> Vec<Step> {
        AggregateStage::steps(self, input, into)
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        AggregateStage::populate(self, input)
    }
}

impl StageSql for TopKStage<'_> {
    fn label(&self) -> String {
        format!("stage {}", self.id.0)
    }

    fn ddl(&self) -> Vec<String> {
        TopKStage::ddl(self)
    }

    fn stored(&self, alias: &str) -> StoredRelation {
        TopKStage::stored(self, alias)
    }

    fn input_name(&self) -> String {
        TopKStage::input_name(self)
    }

    fn steps(&self, input: &str, into: &str) -> Vec<Step> {
        TopKStage::steps(self, input, into)
    }

    fn populate(&self, input: &str) -> Vec<Step> {
        TopKStage::populate(self, input)
    }
}

fn not_lowerable(NotLowerable(name): NotLowerable) -> Unsupported {
    Unsupported {
        construct: Construct { name: name.to_owned(), position: None },
        reason: format!("{name} has no form in SQL at this place"),
    }
}
