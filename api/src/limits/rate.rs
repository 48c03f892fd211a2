//! How often one caller may ask: per address before it is known who asks, per admin after. Each process counts for itself,
//! in memory. What is left is said in the headers of draft-ietf-httpapi-ratelimit-headers-10.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use shared::{
    config::{Limits, Rate},
    id::AdminId,
};
use tokio_util::sync::CancellationToken;

use crate::{error::ApiError, state::AppState};

/// How often callers are forgotten whose buckets are full again: what is remembered of them is what a new one gets.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The quota's name in the headers.
    pub of: &'static str,
    pub quota: u64,
    /// Seconds in which the whole quota comes back.
    pub window_s: u64,
    pub left: u64,
    /// Seconds until all of it is back.
    pub resets_in_s: u64,
}

/// Writes them into an answer's headers; nothing where there is no quota.
pub fn write(all: &[Left], headers: &mut HeaderMap) {
    if all.is_empty() {
        return;
    }
    let join = |one: &dyn Fn(&Left) -> String| all.iter().map(one).collect::<Vec<_>>().join(", ");
    let policy = join(&|left| format!("\"{}\";q={};w={}", left.of, left.quota, left.window_s));
    let now = join(&|left| format!("\"{}\";r={};t={}", left.of, left.left, left.resets_in_s));
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", now)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// The buckets of all callers.
#[derive(Debug)]
pub struct Rates {
    address: Option<Buckets<IpAddr>>,
    admin: Option<Buckets<AdminId>>,
}

impl Rates {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            address: limits.address.map(|rate| Buckets::new("address", rate)),
            admin: limits.admin.map(|rate| Buckets::new("admin", rate)),
        }
    }

    /// Counts a request of this address; what is left, or the refusal with what is left. `None`: there is no limit.
    pub fn address(&self, address: IpAddr) -> Option<(Left, Result<(), ApiError>)> {
        self.address.as_ref().map(|buckets| buckets.take(&of_one_caller(address)))
    }

    /// Counts a request of this admin.
    pub fn admin(&self, admin: AdminId) -> Option<(Left, Result<(), ApiError>)> {
        self.admin.as_ref().map(|buckets| buckets.take(&admin))
    }

    fn forget_idle(&self) {
        if let Some(buckets) = &self.address {
            buckets.forget_idle();
        }
        if let Some(buckets) = &self.admin {
            buckets.forget_idle();
        }
    }
}

/// Forgets idle callers until it is told to stop: memory goes with the callers of the time in which a bucket fills.
pub async fn forget_idle(state: AppState, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(FORGET_EVERY)).await.is_some() {
        state.rates.forget_idle();
    }
}

/// Who has one address of IPv6 has the whole network of it.
fn of_one_caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

type Limiter<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

#[derive(Debug)]
struct Buckets<K: Hash + Eq + Clone> {
    of: &'static str,
    rate: Rate,
    limiter: Limiter<K>,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(of: &'static str, rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_s).allow_burst(rate.burst);
        Self { of, rate, limiter: RateLimiter::keyed(quota).with_middleware(), clock: DefaultClock::default() }
    }

    fn take(&self, key: &K) -> (Left, Result<(), ApiError>) {
        let (rate, burst) = (u64::from(self.rate.per_s.get()), u64::from(self.rate.burst.get()));
        let (left, answer) = match self.limiter.check_key(key) {
            Ok(state) => (u64::from(state.remaining_burst_capacity()).min(burst), Ok(())),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let retry_after_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                (0, Err(ApiError::RateLimited { of: self.of, retry_after_s: retry_after_s.max(1) }))
            }
        };
        let resets_in_s = (burst - left).div_ceil(rate);
        (Left { of: self.of, quota: burst, window_s: burst.div_ceil(rate), left, resets_in_s }, answer)
    }

    fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(per_s: u32, burst: u32) -> Buckets<IpAddr> {
        let number = |n| std::num::NonZeroU32::new(n).unwrap();
        Buckets::new("address", Rate { per_s: number(per_s), burst: number(burst) })
    }

    #[test]
    fn a_burst_goes_through_and_no_more_and_nobody_pays_for_another() {
        let buckets = buckets(1, 5);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let left: Vec<u64> =
            (0..5).map(|_| buckets.take(&one)).map(|(left, answer)| answer.map(|()| left.left).unwrap()).collect();
        assert_eq!(left, [4, 3, 2, 1, 0]);
        let (left, answer) = buckets.take(&one);
        assert!(matches!(answer, Err(ApiError::RateLimited { of: "address", retry_after_s: 1 })));
        assert_eq!((left.left, left.quota, left.window_s, left.resets_in_s), (0, 5, 5, 5));
        assert!(buckets.take(&other).1.is_ok());
    }

    #[test]
    fn whoever_is_idle_is_forgotten() {
        let buckets = buckets(1_000_000, 1_000_000);
        for n in 0..1000_u32 {
            assert!(buckets.take(&IpAddr::V4(n.into())).1.is_ok());
        }
        assert!(buckets.limiter.len() <= 1000);
        // A millionth of a second each: by the next look they are full.
        while !buckets.limiter.is_empty() {
            buckets.forget_idle();
        }
    }

    #[test]
    fn one_network_of_ipv6_is_one_caller() {
        let of = |text: &str| of_one_caller(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn headers_are_lists_of_items_with_parameters() {
        let mut headers = HeaderMap::new();
        write(&[], &mut headers);
        assert!(headers.is_empty());
        let left = |of, left| Left { of, quota: 10, window_s: 5, left, resets_in_s: 2 };
        write(&[left("address", 6), left("jobs", 0)], &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"address\";q=10;w=5, \"jobs\";q=10;w=5");
        assert_eq!(headers["ratelimit"], "\"address\";r=6;t=2, \"jobs\";r=0;t=2");
    }
}
