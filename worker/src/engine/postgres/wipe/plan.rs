//! What of a database is emptied, what stays, and what stands in the way: decided from what was found, without a question.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use shared::wipe::KeepPattern;

use super::{
    super::preflight::{Finding, Severity},
    survey::{Relation, Survey},
};

/// Tables that a message names.
const NAMED: usize = 10;

/// Why a table is not emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A pattern says so.
    Keep,
    Extension,
    /// Its rows are on another server.
    Foreign,
    /// A partitioned table of which a partition is kept.
    Partition,
}

/// A table that is emptied, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "as answers call it everywhere")]
pub struct Table {
    pub schema: String,
    pub table: String,
    /// By the server's statistics, until they are counted.
    pub rows: Option<i64>,
    pub bytes: i64,
    /// Why it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// What is done to a database.
#[derive(Debug, Clone, Default)]
pub struct WipePlan {
    /// Tables with rows of their own that are emptied, by schema and name.
    pub tables: Vec<Table>,
    pub kept: Vec<Table>,
    /// Sequences that start again, quoted; those of the tables included.
    pub sequences: Vec<String>,
    /// Materialized views in the order in which they are made anew, quoted.
    pub views: Vec<String>,
    pub large_objects: i64,
    /// Whether large objects go in the one transaction: each takes a lock.
    pub objects_fit: bool,
    pub problems: Vec<Finding>,
    /// As [`Self::tables`], quoted.
    pub(super) names: Vec<String>,
    /// What the one statement names: with the partitioned tables that are emptied whole.
    pub(super) truncate: Vec<String>,
    /// The sequences that the statement does not start again by itself.
    pub(super) restart: Vec<String>,
}

impl WipePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.large_objects == 0
    }

    /// The first thing because of which it would fail.
    pub fn obstacle(&self) -> Option<&Finding> {
        self.problems.iter().find(|problem| problem.severity == Severity::Error)
    }

    pub(super) fn of(survey: &Survey, keep: &[KeepPattern]) -> Self {
        let split = Split::of(survey, keep);
        let mut plan = Self { large_objects: survey.large_objects, ..Self::default() };
        for relation in &survey.relations {
            if matches!(relation.kind, 'r' | 'p' | 'f') {
                plan.place(relation, &split);
            }
        }
        plan.sequences(survey, &split);
        plan.views = split.order_of_views(survey);
        plan.judge(survey, &split);
        plan
    }

    fn place(&mut self, relation: &Relation, split: &Split<'_>) {
        let table = |why| Table {
            schema: relation.schema.clone(),
            table: relation.name.clone(),
            rows: relation.rows.filter(|_| relation.kind == 'r'),
            bytes: relation.bytes,
            why,
        };
        match split.kept.get(&relation.oid) {
            Some(why) => self.kept.push(table(Some(*why))),
            None if relation.kind == 'p' => self.truncate.push(relation.qualified()),
            None => {
                self.tables.push(table(None));
                self.names.push(relation.qualified());
                // Alone: what inherits from it is in the list by itself, or is kept.
                self.truncate.push(format!("ONLY {}", relation.qualified()));
            }
        }
    }

    /// A sequence that nothing which stays takes numbers from starts again.
    fn sequences(&mut self, survey: &Survey, split: &Split<'_>) {
        for sequence in survey.relations.iter().filter(|relation| relation.kind == 'S') {
            let users = survey.users.get(&sequence.oid);
            let stays = |user: &i64| !split.wiped.contains(user);
            let is_used = users.is_some_and(|users| users.iter().any(stays));
            if split.spares(sequence) || is_used {
                continue;
            }
            self.sequences.push(sequence.qualified());
            if users.is_none_or(HashSet::is_empty) {
                self.restart.push(sequence.qualified());
            }
        }
    }

    fn judge(&mut self, survey: &Survey, split: &Split<'_>) {
        for key in &survey.foreign_keys {
            if split.wiped.contains(&key.from) || !split.wiped.contains(&key.to) {
                continue;
            }
            let (Some(from), Some(to)) = (split.by_oid.get(&key.from), split.by_oid.get(&key.to)) else { continue };
            self.error(
                "kept_table_refers",
                format!(
                    "table {} is kept and refers to {}, which would be emptied (foreign key {:?})",
                    from.qualified(),
                    to.qualified(),
                    key.name
                ),
                format!(
                    "Keep {:?} too, or take {:?} out of what is kept.",
                    format!("{}.{}", to.schema, to.name),
                    format!("{}.{}", from.schema, from.name)
                ),
            );
        }
        let views: HashSet<&String> = self.views.iter().collect();
        let sequences: HashSet<&String> = self.sequences.iter().collect();
        let is_touched = |relation: &&Relation| match relation.kind {
            'r' | 'p' => split.wiped.contains(&relation.oid),
            'm' => views.contains(&relation.qualified()),
            'S' => sequences.contains(&relation.qualified()),
            _ => false,
        };
        let denied: Vec<String> =
            survey.relations.iter().filter(is_touched).filter(|one| !one.is_ours).map(Relation::qualified).collect();
        if !denied.is_empty() {
            let named = denied.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            self.error(
                "permission_denied",
                format!("the role may not empty, restart or refresh {} of what is there: {named}", denied.len()),
                "Make the restore credential's role a member of their owner, or keep them.",
            );
        }
        if survey.foreign_objects > 0 {
            self.error(
                "permission_denied",
                format!("the role may not unlink {} large object(s): they belong to others", survey.foreign_objects),
                "Make the restore credential's role a member of the large objects' owners.",
            );
        }
        let emptied = |relation: &&Relation| split.wiped.contains(&relation.oid);
        let locks: i64 = survey.relations.iter().filter(emptied).map(|relation| relation.locks).sum();
        // All others share what the server has.
        let most = survey.lock_budget / 2;
        if locks > most {
            self.error(
                "lock_budget",
                format!("one transaction needs {locks} locks, and may have {most} of the server's {}", survey.lock_budget),
                "Raise max_locks_per_transaction on the server (it needs a restart), or keep some tables and wipe twice.",
            );
        }
        self.objects_fit = locks + survey.large_objects <= most;
        if !self.objects_fit && survey.large_objects > 0 {
            self.problems.push(Finding {
                code: "large_objects_apart",
                severity: Severity::Warning,
                message: format!(
                    "{} large objects are more than one transaction has locks for: they are unlinked after it, in batches",
                    survey.large_objects
                ),
                hint: "Should that be interrupted, a second wipe takes the rest.".to_owned(),
            });
        }
        self.problems.sort_by_key(|problem| problem.severity);
    }

    fn error(&mut self, code: &'static str, message: String, hint: impl Into<String>) {
        self.problems.push(Finding { code, severity: Severity::Error, message, hint: hint.into() });
    }
}

/// Which tables go and which stay.
struct Split<'a> {
    by_oid: HashMap<i64, &'a Relation>,
    wiped: HashSet<i64>,
    kept: HashMap<i64, Why>,
    keep: &'a [KeepPattern],
}

impl<'a> Split<'a> {
    fn of(survey: &'a Survey, keep: &'a [KeepPattern]) -> Self {
        let by_oid: HashMap<i64, &Relation> = survey.relations.iter().map(|one| (one.oid, one)).collect();
        let mut this = Self { by_oid, wiped: HashSet::new(), kept: HashMap::new(), keep };
        let tables = || survey.relations.iter().filter(|one| matches!(one.kind, 'r' | 'p' | 'f'));
        for table in tables() {
            let why = if table.is_extensions {
                Some(Why::Extension)
            } else if table.kind == 'f' {
                Some(Why::Foreign)
            } else if this.is_kept(table) {
                Some(Why::Keep)
            } else {
                None
            };
            match why {
                Some(why) => drop(this.kept.insert(table.oid, why)),
                None => drop(this.wiped.insert(table.oid)),
            }
        }
        // To truncate a partitioned table is to truncate all of its partitions: where one is kept, the others go one by one.
        for table in
            tables().filter(|table| this.kept.contains_key(&table.oid)).map(|table| table.oid).collect::<Vec<_>>()
        {
            let mut above = this.by_oid.get(&table).and_then(|table| table.parent);
            while let Some(parent) = above {
                if this.wiped.remove(&parent) {
                    this.kept.insert(parent, Why::Partition);
                }
                above = this.by_oid.get(&parent).and_then(|parent| parent.parent);
            }
        }
        this
    }

    /// By a pattern for itself, or for a partitioned table that it is a part of.
    fn is_kept(&self, relation: &Relation) -> bool {
        let mut one = Some(relation);
        while let Some(relation) = one {
            let full = format!("{}.{}", relation.schema, relation.name);
            if self.keep.iter().any(|pattern| pattern.matches(&relation.name) || pattern.matches(&full)) {
                return true;
            }
            one = relation.parent.and_then(|parent| self.by_oid.get(&parent)).copied();
        }
        false
    }

    fn spares(&self, relation: &Relation) -> bool {
        relation.is_extensions || self.is_kept(relation)
    }

    /// Those that hold rows, each after those that it reads.
    fn order_of_views(&self, survey: &Survey) -> Vec<String> {
        let is_view = |one: &&Relation| one.kind == 'm' && one.is_populated && !self.spares(one);
        let mut done = BTreeSet::new();
        let mut order = Vec::new();
        for view in survey.relations.iter().filter(is_view) {
            visit(survey, view.oid, &mut done, &mut order);
        }
        let views = order.iter().filter_map(|oid| self.by_oid.get(oid)).filter(|one| is_view(one));
        views.map(|one| one.qualified()).collect()
    }
}

/// Depth first; the server lets no views read each other in a circle, and `done` would end it.
fn visit(survey: &Survey, oid: i64, done: &mut BTreeSet<i64>, order: &mut Vec<i64>) {
    if !done.insert(oid) {
        return;
    }
    let mut reads: Vec<i64> = survey.reads.get(&oid).into_iter().flatten().copied().collect();
    reads.sort_unstable();
    for read in reads {
        visit(survey, read, done, order);
    }
    order.push(oid);
}

#[cfg(test)]
mod tests {
    use super::{super::survey::ForeignKey, *};

    fn relation(oid: i64, name: &str, kind: char, parent: Option<i64>) -> Relation {
        Relation {
            oid,
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind,
            rows: Some(1),
            bytes: 8192,
            is_extensions: false,
            parent,
            is_ours: true,
            is_populated: true,
            locks: 2,
        }
    }

    fn survey(relations: Vec<Relation>) -> Survey {
        Survey { relations, lock_budget: 6400, ..Survey::default() }
    }

    fn patterns(all: &[&str]) -> Vec<KeepPattern> {
        all.iter().map(|one| KeepPattern::parse(*one).unwrap()).collect()
    }

    fn codes(plan: &WipePlan) -> Vec<&str> {
        plan.problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_partitioned_table_is_truncated_whole_or_partition_by_partition() {
        let found = survey(vec![
            relation(1, "events", 'p', None),
            relation(2, "events_1", 'r', Some(1)),
            relation(3, "events_2", 'r', Some(1)),
        ]);
        let whole = WipePlan::of(&found, &[]);
        assert_eq!(
            whole.truncate,
            [r#""public"."events""#, r#"ONLY "public"."events_1""#, r#"ONLY "public"."events_2""#]
        );
        let part = WipePlan::of(&found, &patterns(&["events_2"]));
        assert_eq!(part.truncate, [r#"ONLY "public"."events_1""#]);
        assert_eq!(
            part.kept.iter().map(|table| table.why).collect::<Vec<_>>(),
            [Some(Why::Partition), Some(Why::Keep)]
        );
        // A pattern for the whole keeps its parts.
        assert!(WipePlan::of(&found, &patterns(&["public.events"])).is_empty());
        let mut foreign = found;
        foreign.relations[2].kind = 'f';
        assert_eq!(WipePlan::of(&foreign, &[]).truncate, [r#"ONLY "public"."events_1""#]);
    }

    #[test]
    fn a_kept_table_that_refers_to_one_that_goes_is_named_with_it() {
        let mut found = survey(vec![relation(1, "lots", 'r', None), relation(2, "it's \"kept\"\n", 'r', None)]);
        found.foreign_keys.push(ForeignKey { name: "of_lot".to_owned(), from: 2, to: 1 });
        assert_eq!(codes(&WipePlan::of(&found, &[])), Vec::<&str>::new());
        let plan = WipePlan::of(&found, &patterns(&["it's*"]));
        assert_eq!(codes(&plan), ["kept_table_refers"]);
        let message = &plan.obstacle().unwrap().message;
        assert!(message.contains(r#""public"."lots""#) && message.contains(r#""it's ""kept"""#), "{message}");
        // The other way round nothing is torn.
        assert_eq!(codes(&WipePlan::of(&found, &patterns(&["lots"]))), Vec::<&str>::new());
    }

    #[test]
    fn sequences_that_something_kept_takes_numbers_from_go_on() {
        let mut found = survey(vec![
            relation(1, "lots", 'r', None),
            relation(2, "kept", 'r', None),
            relation(3, "own", 'S', None),
            relation(4, "shared", 'S', None),
            relation(5, "free", 'S', None),
        ]);
        found.users.insert(3, HashSet::from([1]));
        found.users.insert(4, HashSet::from([1, 2]));
        let plan = WipePlan::of(&found, &patterns(&["kept"]));
        assert_eq!(plan.sequences, [r#""public"."own""#, r#""public"."free""#]);
        assert_eq!(plan.restart, [r#""public"."free""#]);
    }

    #[test]
    fn views_come_after_what_they_read_through_whatever() {
        let mut found = survey(vec![
            relation(1, "a_last", 'm', None),
            relation(2, "between", 'v', None),
            relation(3, "first", 'm', None),
            relation(4, "lots", 'r', None),
        ]);
        found.reads.insert(1, HashSet::from([2]));
        found.reads.insert(2, HashSet::from([3]));
        found.reads.insert(3, HashSet::from([4]));
        assert_eq!(WipePlan::of(&found, &[]).views, [r#""public"."first""#, r#""public"."a_last""#]);
        found.relations[2].is_populated = false;
        assert_eq!(WipePlan::of(&found, &[]).views, [r#""public"."a_last""#]);
    }

    #[test]
    fn locks_and_rights_are_looked_at_before() {
        let mut found = survey(vec![relation(1, "lots", 'r', None)]);
        found.large_objects = 3198;
        assert!(WipePlan::of(&found, &[]).objects_fit);
        found.large_objects = 3199;
        let plan = WipePlan::of(&found, &[]);
        assert!(!plan.objects_fit && plan.obstacle().is_none());
        assert_eq!(codes(&plan), ["large_objects_apart"]);
        found.foreign_objects = 1;
        found.relations[0].is_ours = false;
        found.relations[0].locks = 9999;
        assert_eq!(
            codes(&WipePlan::of(&found, &[])),
            ["permission_denied", "permission_denied", "lock_budget", "large_objects_apart"]
        );
    }
}
