//! That what runs every second, or is looked at all day, never reads the whole history: PostgreSQL's plans for the
//! statements behind 20,000 ended jobs and 2,000 queued ones.

use support::App;

const CLAIM: &str = include_str!("../../shared/src/db/sql/claim.sql");
const PAGE: &str = include_str!("../../shared/src/db/sql/jobs_page.sql");

/// The plan of a statement whose parameters are these.
async fn plan(app: &App, statement: &str, parameters: &[&str]) -> String {
    let mut sql = statement.to_owned();
    for (n, value) in parameters.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", n + 1), value);
    }
    app.values::<String>(&format!("EXPLAIN {sql}")).await.join("\n")
}

#[tokio::test]
async fn neither_a_claim_nor_a_filtered_list_reads_every_job() {
    let app = App::spawn().await;
    app.execute(
        "ALTER TABLE jobs DISABLE TRIGGER USER;
         INSERT INTO jobs (id, kind, state, payload, finished_at)
         SELECT gen_random_uuid(), 'backup', CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'succeeded' END, '{}', now()
         FROM generate_series(1, 20000) n;
         INSERT INTO jobs (id, kind, payload, exclusive_key, after_job_id)
         SELECT gen_random_uuid(), 'backup', '{}', 'target:' || n % 50, CASE WHEN n % 4 = 0 THEN (SELECT id FROM jobs LIMIT 1) END
         FROM generate_series(1, 2000) n;
         ANALYZE",
    )
    .await;
    let none = "NULL";
    let plans = [
        plan(&app, CLAIM, &["'a'", "'{default}'::text[]", "30"]).await,
        plan(&app, PAGE, &[none, none, none, "'failed'", none, "25", "0", "10001", "false"]).await,
        plan(&app, PAGE, &[none, none, "'restore'", none, none, "25", "0", "10001", "false"]).await,
        plan(
            &app,
            PAGE,
            &[none, "'00000000-0000-7000-8000-000000000000'", none, none, none, "25", "0", "10001", "false"],
        )
        .await,
    ];
    for plan in plans {
        assert!(!plan.contains("Seq Scan on jobs"), "{plan}");
    }
}
