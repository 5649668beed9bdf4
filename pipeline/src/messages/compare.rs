//! What other goals would count, over the deliveries and events that are there.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, StringViewArray};
use serde::Serialize;
use touchline_schemas::Tenant;
use touchline_schemas::tables::message_deliveries as column;
use touchline_schemas::tables::{Table, message_rollups};

use super::conversions::{Conversions, Journeys};
use super::goals::{Goals, goal_events};
use crate::columns::{texts, times};
use crate::gather::blocking;
use crate::identities::{Identity, People};
use crate::{PipelineError, QueryEngine};

/// What one set of goals counts for a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Pairs of attempt and goal that have credit.
    pub conversions: u64,
    /// All goal events, for every attempt before them.
    pub conversions_total: u64,
    /// Ten-thousandths of the value of the goal events that have credit.
    pub revenue_e4: i128,
}

/// A message and a goal, with what both sets of goals count for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// System, message, variant and channel.
    pub message: [Option<String>; 4],
    /// Name of the goal; one of that name may be in one set only.
    pub goal: String,
    /// What the first set counts and the second.
    pub counted: [Counted; 2],
}

/// What one set of goals and another count for all deliveries of a tenant.
pub async fn compare(engine: &QueryEngine, tenant: Tenant, goals: [&Goals; 2]) -> Result<Vec<Compared>, PipelineError> {
    let (identities, _) = engine.scan(Table::Identities, tenant).await?;
    let rows = identities.frame(&engine.context())?.collect().await?;
    let people = People::new(Identity::read(&rows)?);
    let mut messages: HashMap<String, [Option<String>; 4]> = HashMap::new();
    let mut rows: BTreeMap<([Option<String>; 4], String), [Counted; 2]> = BTreeMap::new();
    for (side, goals) in goals.into_iter().enumerate() {
        let conversions = conversions(engine, tenant, &people, goals, &mut messages).await?;
        for (attempt, reached) in conversions.iter() {
            let Some(message) = messages.get(attempt) else { continue };
            let mut credited: HashSet<&str> = HashSet::new();
            for reached in reached {
                let row = &mut rows.entry((message.clone(), reached.goal.clone())).or_default()[side];
                row.conversions_total += 1;
                if reached.is_credited {
                    row.conversions += u64::from(credited.insert(&reached.goal));
                    row.revenue_e4 += reached.value_e4.unwrap_or_default();
                }
            }
        }
    }
    let compared = rows.into_iter().map(|((message, goal), counted)| Compared { message, goal, counted });
    Ok(compared.collect())
}

async fn conversions(
    engine: &QueryEngine,
    tenant: Tenant,
    people: &People,
    goals: &Goals,
    messages: &mut HashMap<String, [Option<String>; 4]>,
) -> Result<Conversions, PipelineError> {
    let (deliveries, _) = engine.scan(Table::MessageDeliveries, tenant).await?;
    let mut names = vec![column::ATTEMPT_ID, column::PERSON_ID, column::EXPOSED_AT];
    names.extend(message_rollups::DIMENSIONS);
    let frame = deliveries.frame(&engine.context())?.select_columns(&names)?;
    let mut journeys = Journeys::default();
    for batch in frame.collect().await? {
        let (attempts, persons) = (texts(&batch, column::ATTEMPT_ID)?, texts(&batch, column::PERSON_ID)?);
        let exposed = times(&batch, column::EXPOSED_AT)?;
        let mut dimensions: Vec<&StringViewArray> = Vec::new();
        for name in message_rollups::DIMENSIONS {
            dimensions.push(texts(&batch, name)?);
        }
        for row in (0..batch.num_rows()).filter(|row| exposed.is_valid(*row) && persons.is_valid(*row)) {
            let mut message: [Option<String>; 4] = Default::default();
            for (value, column) in message.iter_mut().zip(&dimensions) {
                *value = column.is_valid(row).then(|| column.value(row).to_owned());
            }
            messages.insert(attempts.value(row).to_owned(), message);
            journeys.add_exposure(persons.value(row), exposed.value(row), attempts.value(row));
        }
    }
    let (events, _) = engine.scan(Table::Events, tenant).await?;
    goal_events(engine, events, people, goals, |event| journeys.add_goal_event(&event)).await?;
    let goals = goals.clone();
    blocking(move || journeys.conversions(&goals)).await
}
