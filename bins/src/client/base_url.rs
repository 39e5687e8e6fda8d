//! Where the platform is.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::ClientError;

/// The address of a running platform, such as `http://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    authority: Authority,
    /// Empty, or a path without a slash at its end.
    prefix: String,
}

impl BaseUrl {
    /// Makes the address of a route.
    ///
    /// # Errors
    /// `path_and_query` holds characters that must be percent-encoded.
    pub(super) fn join(&self, path_and_query: &str) -> Result<Uri, ClientError> {
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.prefix))
            .build()
            .map_err(|source| ClientError::Request { source })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

impl FromStr for BaseUrl {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let refused = |reason| ClientError::Url { url: text.to_owned(), reason };
        let uri: Uri = text.parse().map_err(|_| refused("is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(refused("needs TLS, which this client does not speak: use http://")),
            _ => return Err(refused("must start with http://, such as http://127.0.0.1:8080")),
        }
        if uri.query().is_some() {
            return Err(refused("must not have a query"));
        }
        let authority = uri.authority().cloned().ok_or_else(|| refused("names no host"))?;
        Ok(Self { authority, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_joined_to_the_base_with_one_slash() {
        for base in ["http://localhost:8080", "http://localhost:8080/"] {
            let joined = base.parse::<BaseUrl>().unwrap().join("/v1/events?on_error=abort").unwrap();
            assert_eq!(joined.to_string(), "http://localhost:8080/v1/events?on_error=abort");
        }
        let behind_a_path = "http://host/bank/".parse::<BaseUrl>().unwrap();
        assert_eq!(behind_a_path.join("/v1/workers").unwrap().path(), "/bank/v1/workers");
        assert_eq!(behind_a_path.to_string(), "http://host/bank");
    }

    #[test]
    fn what_the_client_does_not_speak_is_refused_with_a_reason() {
        let cases = [
            ("https://host", "TLS"),
            ("127.0.0.1:8080", "http://"),
            ("localhost", "http://"),
            ("ftp://host", "http://"),
            ("http://host?x=1", "query"),
            ("http://", "URL"),
        ];
        for (url, reason) in cases {
            let error = url.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(reason), "{url} was refused with: {error}");
        }
    }
}
