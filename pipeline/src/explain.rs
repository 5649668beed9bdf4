//! What a question asked the tables, in SQL: written down from each plan before the engine does anything to it, so that it is
//! what runs and not a second spelling of it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::sql::unparser::plan_to_sql;

use crate::scan::LakeScan;
use crate::view::View;

/// One query that was asked of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// It in SQL, over the tables by their names.
    pub sql: String,
    /// Whether its rows are those of the answer. If not, the answer was counted from them.
    pub gives_answer: bool,
}

/// What one plan reads: its largest parts that read nothing but tables, in SQL.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads {
    sql: Vec<String>,
    /// Whether the only one is the whole plan.
    is_whole: bool,
}

/// The statements of some plans; of the last of them, if it `is_answer`, came the rows of the answer.
pub(crate) fn statements(plans: Vec<Reads>, is_answer: bool) -> Vec<Statement> {
    let last = plans.len().saturating_sub(1);
    let of_plan = |(number, plan): (usize, Reads)| {
        let gives_answer = is_answer && number == last && plan.is_whole;
        plan.sql.into_iter().map(move |sql| Statement { sql, gives_answer })
    };
    plans.into_iter().enumerate().flat_map(of_plan).collect()
}

/// Writes down what is asked, for those who want it explained.
#[derive(Debug)]
pub(crate) struct Recorder {
    view: Arc<View>,
}

impl Recorder {
    /// The usual rules, after one that notes in `view` what is asked.
    pub fn before_the_usual(view: &Arc<View>) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(Self { view: Arc::clone(view) })];
        rules.extend(Analyzer::new().rules);
        rules
    }
}

impl AnalyzerRule for Recorder {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut reads = Reads { sql: Vec::new(), is_whole: reads_only_tables(&plan) };
        read(&plan, &mut reads.sql);
        self.view.note(reads);
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "explain"
    }
}

fn read(plan: &LogicalPlan, sql: &mut Vec<String>) {
    if reads_only_tables(plan) {
        let written = plan_to_sql(plan).map(|statement| statement.to_string());
        sql.push(written.unwrap_or_else(|error| format!("-- this query has no form in SQL: {error}")));
        return;
    }
    plan.inputs().into_iter().for_each(|input| read(input, sql));
}

fn reads_only_tables(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<LakeScan>())
        }
        _ => {
            let inputs = plan.inputs();
            !inputs.is_empty() && inputs.into_iter().all(reads_only_tables)
        }
    }
}
