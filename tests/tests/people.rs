//! A person's page says what SQL over the tables says, for every person, by any of their ids.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use touchline_ingest::record::decode;
use touchline_pipeline::reports::people::{self, Person, events, ids, sessions, touches};
use touchline_pipeline::reports::rows::Page;
use touchline_pipeline::reports::{Bots, TimeRange, sessions::Params, visitors};
use touchline_pipeline::{Answer, PipelineError};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::messages::{history, payload};
use touchline_tests::rows::{texts, value};

/// Rows of `{table}` with whose they are, by their time `{at}`.
const OWNED: &str = "select t.*, case when t.user_id is not null then coalesce(u.person_id, 'u:' || t.user_id) \
    else coalesce(v.person_id, 'v:' || t.visitor_id) end as owner from {table} t \
    left join identities u on u.id_type = 'user' and u.id = t.user_id \
    left join identities v on v.id_type = 'visitor' and v.id = t.visitor_id \
    and (v.valid_from is null or t.{at} >= v.valid_from) and (v.valid_to is null or t.{at} < v.valid_to)";

struct World {
    installation: Installation,
    tenant: Tenant,
    _folder: tempfile::TempDir,
}

impl World {
    async fn of(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-04-01T00:00:00Z".parse().unwrap();
        let mut installation = Installation::open(folder.path(), Arc::new(MockClock::at(now)), 2).await.unwrap();
        let account = installation.control.create_account("shop", "Shop", now).await.unwrap();
        let mut settings = AccountSettings::default();
        settings.set("conversion_event_types", "purchase,signup").unwrap();
        installation.control.set_account_settings(account.id, &settings, now).await.unwrap();
        let tenant = Tenant { account_id: account.id, environment: Environment::Live };
        let events = history(&mut SmallRng::seed_from_u64(seed), 220);
        let payloads: Vec<_> = events.iter().map(|sent| payload(tenant, sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        installation.writer.store(1, &requests).await.unwrap();
        installation.run_jobs(false).await.unwrap();
        Self { installation, tenant, _folder: folder }
    }

    /// Rows of a query over the tables.
    async fn sql(&self, sql: &str) -> Vec<String> {
        let engine = &self.installation.engine;
        let context = engine.context();
        for table in Table::ALL {
            let (scan, _) = engine.scan(table, self.tenant).await.unwrap();
            context.register_table(table.name(), Arc::new(scan)).unwrap();
        }
        texts(&context.sql(sql).await.unwrap().collect().await.unwrap()).unwrap()
    }

    async fn find(&self, id: &str) -> Option<Person> {
        people::find(&self.installation.engine, self.tenant, id).await.unwrap()
    }

    /// Of each owner the ids of rows of a table, newest first.
    async fn owned(&self, table: &str, at: &str, id: &str) -> BTreeMap<String, Vec<String>> {
        let owned = OWNED.replace("{table}", table).replace("{at}", at);
        let rows = self.sql(&format!("select {id}, owner from ({owned}) order by {at} desc, {id} desc")).await;
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in rows {
            // What nobody did is nobody's.
            if value(&row, "owner") != "∅" {
                owners.entry(value(&row, "owner").to_owned()).or_default().push(value(&row, id).to_owned());
            }
        }
        owners
    }
}

async fn rows(answer: Result<Answer, PipelineError>) -> Vec<String> {
    texts(&answer.unwrap().batches.try_collect::<Vec<_>>().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_somebodys_and_found_by_any_of_their_ids() {
    let mut seen = 0;
    for seed in 0..3 {
        let world = World::of(seed).await;
        let (engine, tenant) = (&world.installation.engine, world.tenant);
        let (of_events, of_sessions) = (
            world.owned("events", "occurred_at", "event_id").await,
            world.owned("sessions", "started_at", "session_id").await,
        );
        let everybody: BTreeSet<&String> = of_events.keys().chain(of_sessions.keys()).collect();
        // Events with two ids and aliases leave few people, and sometimes one.
        seen += everybody.len();
        for person_id in everybody {
            let person = world.find(person_id).await.unwrap();
            assert_eq!(person.person_id, *person_id);
            let nothing = Vec::new();
            let mut found = Vec::new();
            let mut params = events::Params { page: Page { after: None, limit: Some(5) }, ..Default::default() };
            loop {
                let rows = rows(events::query(engine, tenant, &person, &params).await).await;
                let Some(last) = rows.last() else { break };
                let at = value(last, "occurred_at").parse().unwrap();
                params.page.after = Some((at, value(last, "event_id").to_owned()));
                found.extend(rows.iter().map(|row| value(row, "event_id").to_owned()));
            }
            assert_eq!(found, *of_events.get(person_id).unwrap_or(&nothing), "seed {seed}, {person_id}");

            let params = Params { bots: Bots::Include, ..Params::default() };
            let found = rows(sessions::query(engine, tenant, &person, &params).await).await;
            let found: Vec<String> = found.iter().map(|row| value(row, "session_id").to_owned()).collect();
            assert_eq!(found, *of_sessions.get(person_id).unwrap_or(&nothing), "seed {seed}, {person_id}");

            let columns = visitors::columns().join(", ");
            let stored = world.sql(&format!("select {columns} from visitors where person_id = '{person_id}'")).await;
            let shown = rows(people::query(engine, tenant, &person).await).await;
            if stored.is_empty() {
                assert_eq!((shown.len(), value(&shown[0], "person_id")), (1, person_id.as_str()));
            } else {
                assert_eq!(shown, stored);
            }

            // An id that only this person has leads to them.
            for id in rows(ids::query(engine, tenant, &person).await).await {
                let (kind, id) = (value(&id, "id_type"), value(&id, "id"));
                let typed = format!("{}:{id}", &kind[..1]);
                let others =
                    format!("select distinct person_id from identities where id_type = '{kind}' and id = '{id}'");
                if world.sql(&others).await.len() < 2 {
                    assert_eq!(world.find(&typed).await.as_ref(), Some(&person), "seed {seed}, {typed}");
                }
            }
        }
        for stranger in ["nobody", "u:nobody", "v:nobody", ""] {
            assert_eq!(world.find(stranger).await, None, "{stranger}");
        }
    }
    assert!(seen > 3, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn touches_have_the_credit_of_the_model() {
    let world = World::of(1).await;
    let mut seen = 0;
    for row in world.sql("select distinct person_id from touchpoints where person_id is not null").await {
        let person = world.find(value(&row, "person_id")).await.unwrap();
        for model in ["last_non_direct", "linear"] {
            let params = touches::Params { range: TimeRange::default(), model: model.to_owned(), limit: None };
            let found = touches::query(&world.installation.engine, world.tenant, &person, &params).await;
            let sql = format!(
                "select t.conversion_id, t.converted_at, t.event_type, t.value, t.currency, t.position, t.touch_count, \
                 t.session_id, t.touched_at, t.channel, t.utm_source, t.utm_medium, t.utm_campaign, t.utm_content, \
                 t.utm_term, t.referrer_host, t.landing_page, \
                 (select max(a.credit) from attribution a where a.model = '{model}' \
                 and a.conversion_id = t.conversion_id and a.position = t.position) as credit, \
                 (select max(a.value) from attribution a where a.model = '{model}' \
                 and a.conversion_id = t.conversion_id and a.position = t.position) as credited_value \
                 from touchpoints t where t.person_id = '{}' \
                 order by t.converted_at desc, t.conversion_id desc, t.position",
                person.person_id
            );
            let expected = world.sql(&sql).await;
            assert_eq!(rows(found).await, expected, "{model} {}", person.person_id);
            seen += expected.len();
        }
    }
    assert!(seen > 10, "{seen}");
}
