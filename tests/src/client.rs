//! A REST client that keeps status, headers and body of an answer together.

use std::time::Duration;

use anyhow::ensure;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

/// Speaks to one API.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    http: reqwest::Client,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `Null` where there is none.
    pub body: Value,
}

impl Answer {
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Where and by which code rules were broken, sorted.
    #[must_use]
    pub fn violations(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        let mut found: Vec<(&str, &str)> = errors
            .map(|error| {
                let place = error["pointer"].as_str().or(error["parameter"].as_str());
                (place.unwrap_or_default(), error["code"].as_str().unwrap_or_default())
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// The entity's version, 0 where the body is none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.body["version"].as_u64().unwrap_or_default()
    }
}

impl Client {
    /// # Errors
    /// If no client can be made here.
    pub fn new(base: String) -> anyhow::Result<Self> {
        Ok(Self { base, http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build()? })
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// With headers; a body of `Null` is none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let mut request = self.request(method, path);
        if !body.is_null() {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Checks that the answer is this problem, whole and explained.
    pub async fn check_problem(&self, answer: &Answer, status: u16, code: &str) -> anyhow::Result<()> {
        ensure!((answer.status.as_u16(), answer.code()) == (status, code), "{code} was expected: {answer:?}");
        ensure!(answer.header("content-type") == "application/problem+json", "{answer:?}");
        ensure!(answer.body["type"] == format!("/problems/{code}") && answer.body["status"] == status, "{answer:?}");
        ensure!(answer.body["title"].is_string() && answer.body["instance"].is_string(), "{answer:?}");
        ensure!(answer.body["request_id"].is_string(), "{answer:?}");
        let page = self.request(Method::GET, &format!("/problems/{code}")).send().await?;
        ensure!(page.status() == 200 && page.text().await?.contains(code), "{code} is not explained");
        Ok(())
    }

    /// The status alone, where the body is no JSON.
    pub async fn http_status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.request(Method::GET, path).send().await?.status().as_u16())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// # Errors
    /// If there is no answer, or its body is not JSON.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        Ok(Answer { status, headers, body })
    }
}
