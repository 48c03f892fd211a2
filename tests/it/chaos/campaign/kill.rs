//! Workers that are killed or frozen at random moments of their work.

use std::time::Duration;

use tokio::time::sleep;

use super::{Line, Plan, in_lanes, lane::LEASE};

/// After so many the lane comes to rest and everything is checked.
const ROUND: u64 = 25;

pub(super) async fn kills(plan: &Plan) -> Line {
    in_lanes(plan, "workers killed with SIGKILL at random moments", plan.kills, |mut lane, runs, mut line| async move {
        for run in 1..=runs {
            lane.top_up().await;
            let victim = lane.rng.below(2);
            lane.busy(victim).await;
            sleep(Duration::from_millis(lane.rng.below(900) as u64)).await;
            let doing = lane.doing(victim).await.unwrap_or_else(|| "between jobs".to_owned());
            line.hit(&doing);
            if !lane.workers[victim].has_ended() {
                lane.workers[victim].kill9().await;
            }
            lane.replace(victim);
            if run % ROUND == 0 {
                lane.settle(&mut line).await;
                line.progress(run, runs);
            }
        }
        lane.finish(&mut line).await;
        line
    })
    .await
}

pub(super) async fn freezes(plan: &Plan) -> Line {
    in_lanes(
        plan,
        "workers frozen with SIGSTOP past their lease",
        plan.freezes,
        |mut lane, runs, mut line| async move {
            for run in 1..=runs {
                lane.top_up().await;
                let victim = lane.rng.below(2);
                lane.busy(victim).await;
                sleep(Duration::from_millis(lane.rng.below(600) as u64)).await;
                let doing = lane.doing(victim).await.unwrap_or_else(|| "between jobs".to_owned());
                line.hit(&doing);
                lane.workers[victim].freeze();
                sleep(LEASE + Duration::from_millis(1000 + lane.rng.below(2000) as u64)).await;
                lane.workers[victim].thaw();
                if run % 6 == 0 {
                    lane.settle(&mut line).await;
                    line.progress(run, runs);
                }
            }
            lane.finish(&mut line).await;
            line
        },
    )
    .await
}
