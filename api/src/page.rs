//! Pages of lists: `page` and `limit` in, `Link` and `X-Total-Count` out.

use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// The most that one page holds.
pub const MAX_LIMIT: u32 = 100;
const DEFAULT_LIMIT: u32 = 20;
const MAX_PAGE: u32 = 1_000_000;

/// The query of a list without filters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

impl PageQuery {
    /// The page that is meant.
    pub fn page(&self) -> Result<Page, ApiError> {
        Page::new(self.page, self.limit)
    }
}

/// The order of a list of what comes into being by itself. Without it: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
pub enum Sort {
    #[serde(rename = "created_at")]
    OldestFirst,
    #[serde(rename = "-created_at")]
    NewestFirst,
}

/// A page that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    number: u32,
    limit: u32,
}

impl Page {
    /// Checks what the caller gave: page 1…1,000,000, limit 1…100.
    pub fn new(page: Option<u32>, limit: Option<u32>) -> Result<Self, ApiError> {
        let (number, limit) = (page.unwrap_or(1), limit.unwrap_or(DEFAULT_LIMIT));
        if !(1..=MAX_PAGE).contains(&number) {
            return Err(ApiError::field("?page", format!("must be 1 to {MAX_PAGE}")));
        }
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::field("?limit", format!("must be 1 to {MAX_LIMIT}")));
        }
        Ok(Self { number, limit })
    }

    pub fn limit(self) -> i64 {
        self.limit.into()
    }

    pub fn offset(self) -> i64 {
        i64::from(self.number - 1) * i64::from(self.limit)
    }

    /// The rows as the API shows them, with the headers of the page. `exact` is false where counting stopped at a bound.
    pub fn answer<T: Serialize + From<R>, R>(self, uri: &Uri, rows: Vec<R>, total: i64, exact: bool) -> Response {
        let items: Vec<T> = rows.into_iter().map(T::from).collect();
        let mut response = Json(items).into_response();
        let headers = response.headers_mut();
        headers.insert("x-total-count", HeaderValue::from(total));
        if !exact {
            headers.insert("x-total-count-bound", HeaderValue::from_static("lower"));
        }
        if let Ok(value) = HeaderValue::from_str(&self.links(uri, total, exact)) {
            headers.insert(header::LINK, value);
        }
        response
    }

    fn links(self, uri: &Uri, total: i64, exact: bool) -> String {
        let last = u32::try_from((total + self.limit() - 1) / self.limit()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        let kept: Vec<&str> =
            uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty() && !p.starts_with("page=")).collect();
        let link = |rel: &str, page: u32| {
            let query = kept.iter().fold(String::new(), |query, part| query + part + "&");
            format!("<{}?{query}page={page}>; rel=\"{rel}\"", uri.path())
        };
        let mut links = vec![link("first", 1)];
        if self.number > 1 {
            links.push(link("prev", (self.number - 1).min(last)));
        }
        if self.number < last {
            links.push(link("next", self.number + 1));
        }
        if exact {
            links.push(link("last", last));
        }
        links.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_filters() {
        let uri: Uri = "/v1/saves?state=available&page=2&limit=10".parse().unwrap();
        let page = Page::new(Some(2), Some(10)).unwrap();
        assert_eq!(
            page.links(&uri, 35, true),
            "</v1/saves?state=available&limit=10&page=1>; rel=\"first\", </v1/saves?state=available&limit=10&page=1>; rel=\"prev\", \
             </v1/saves?state=available&limit=10&page=3>; rel=\"next\", </v1/saves?state=available&limit=10&page=4>; rel=\"last\""
        );
        assert_eq!(page.offset(), 10);
    }

    #[test]
    fn an_empty_list_has_one_page_and_bounds_hold() {
        let uri: Uri = "/v1/jobs".parse().unwrap();
        assert_eq!(
            Page::new(None, None).unwrap().links(&uri, 0, true),
            "</v1/jobs?page=1>; rel=\"first\", </v1/jobs?page=1>; rel=\"last\""
        );
        for (page, limit) in [(Some(0), None), (None, Some(0)), (None, Some(101)), (Some(1_000_001), None)] {
            assert!(Page::new(page, limit).is_err());
        }
    }
}
