//! The A2A 1.0 agent card in ProtoJSON, read as strictly as the broker reads it.
//!
//! Only known fields, in camelCase or snake_case; written back in camelCase, in the order of the field
//! numbers, without what is unset. A card with one field more is no card to the broker.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Reads a whole card, or nothing.
pub(crate) fn parse(body: &[u8]) -> Option<AgentCard> {
    serde_json::from_slice::<Message<AgentCard>>(body).ok().map(|card| card.0)
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct AgentCard {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    #[serde(alias = "supported_interfaces", skip_serializing_if = "Vec::is_empty")]
    supported_interfaces: Vec<Message<AgentInterface>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Message<AgentProvider>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(alias = "documentation_url", skip_serializing_if = "Option::is_none")]
    documentation_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Message<AgentCapabilities>>,
    #[serde(alias = "security_schemes", skip_serializing_if = "BTreeMap::is_empty")]
    security_schemes: BTreeMap<String, SecurityScheme>,
    #[serde(alias = "security_requirements", skip_serializing_if = "Vec::is_empty")]
    security_requirements: Vec<Message<SecurityRequirement>>,
    #[serde(alias = "default_input_modes", skip_serializing_if = "Vec::is_empty")]
    default_input_modes: Vec<String>,
    #[serde(alias = "default_output_modes", skip_serializing_if = "Vec::is_empty")]
    default_output_modes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skills: Vec<Message<AgentSkill>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<Message<AgentCardSignature>>,
    #[serde(alias = "icon_url", skip_serializing_if = "Option::is_none")]
    icon_url: Option<String>,
}

impl AgentCard {
    /// What a search looks at: name, description, and the skills with their tags and examples.
    pub(crate) fn search_text(&self) -> String {
        let skills = self.skills.iter().flat_map(|Message(skill)| {
            [&skill.name, &skill.description].into_iter().chain(&skill.tags).chain(&skill.examples)
        });
        let words: Vec<&str> =
            [&self.name, &self.description].into_iter().chain(skills).map(String::as_str).collect();
        words.join(" ")
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct AgentInterface {
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(alias = "protocol_binding", skip_serializing_if = "String::is_empty")]
    protocol_binding: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tenant: String,
    #[serde(alias = "protocol_version", skip_serializing_if = "String::is_empty")]
    protocol_version: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AgentProvider {
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    organization: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct AgentCapabilities {
    #[serde(skip_serializing_if = "Option::is_none")]
    streaming: Option<bool>,
    #[serde(alias = "push_notifications", skip_serializing_if = "Option::is_none")]
    push_notifications: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<Message<AgentExtension>>,
    #[serde(alias = "extended_agent_card", skip_serializing_if = "Option::is_none")]
    extended_agent_card: Option<bool>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AgentExtension {
    #[serde(skip_serializing_if = "String::is_empty")]
    uri: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Map<String, Value>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct AgentSkill {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    examples: Vec<String>,
    #[serde(alias = "input_modes", skip_serializing_if = "Vec::is_empty")]
    input_modes: Vec<String>,
    #[serde(alias = "output_modes", skip_serializing_if = "Vec::is_empty")]
    output_modes: Vec<String>,
    #[serde(alias = "security_requirements", skip_serializing_if = "Vec::is_empty")]
    security_requirements: Vec<Message<SecurityRequirement>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AgentCardSignature {
    #[serde(skip_serializing_if = "String::is_empty")]
    protected: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Map<String, Value>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SecurityRequirement {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    schemes: BTreeMap<String, Message<StringList>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct StringList {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum SecurityScheme {
    #[serde(rename = "apiKeySecurityScheme", alias = "api_key_security_scheme")]
    ApiKey(Message<ApiKey>),
    #[serde(rename = "httpAuthSecurityScheme", alias = "http_auth_security_scheme")]
    HttpAuth(Message<HttpAuth>),
    #[serde(rename = "oauth2SecurityScheme", alias = "oauth2_security_scheme")]
    OAuth2(Message<OAuth2>),
    #[serde(rename = "openIdConnectSecurityScheme", alias = "open_id_connect_security_scheme")]
    OpenIdConnect(Message<OpenIdConnect>),
    #[serde(rename = "mtlsSecurityScheme", alias = "mtls_security_scheme")]
    MutualTls(Message<MutualTls>),
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ApiKey {
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    location: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct HttpAuth {
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scheme: String,
    #[serde(alias = "bearer_format", skip_serializing_if = "String::is_empty")]
    bearer_format: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct OAuth2 {
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<OAuthFlow>,
    #[serde(alias = "oauth2_metadata_url", skip_serializing_if = "String::is_empty")]
    oauth2_metadata_url: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum OAuthFlow {
    #[serde(alias = "authorization_code")]
    AuthorizationCode(Message<Flow>),
    #[serde(alias = "client_credentials")]
    ClientCredentials(Message<Flow>),
    Implicit(Message<Flow>),
    Password(Message<Flow>),
    #[serde(alias = "device_code")]
    DeviceCode(Message<Flow>),
}

/// The union of the flows' fields; which of them a flow may hold is not checked.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Flow {
    #[serde(alias = "authorization_url", skip_serializing_if = "String::is_empty")]
    authorization_url: String,
    #[serde(alias = "device_authorization_url", skip_serializing_if = "String::is_empty")]
    device_authorization_url: String,
    #[serde(alias = "token_url", skip_serializing_if = "String::is_empty")]
    token_url: String,
    #[serde(alias = "refresh_url", skip_serializing_if = "String::is_empty")]
    refresh_url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scopes: BTreeMap<String, String>,
    #[serde(alias = "pkce_required", skip_serializing_if = "std::ops::Not::not")]
    pkce_required: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct OpenIdConnect {
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(alias = "open_id_connect_url", skip_serializing_if = "String::is_empty")]
    open_id_connect_url: String,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct MutualTls {
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

/// A message that must be a JSON object: derived structs alone would also take a positional array.
#[derive(Serialize)]
#[serde(transparent)]
struct Message<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Message<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectOnly(PhantomData))
    }
}

struct ObjectOnly<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectOnly<T> {
    type Value = Message<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Message).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    fn again(body: &str) -> Option<String> {
        super::parse(body.as_bytes()).map(|card| serde_json::to_string(&card).expect("a card is plain data"))
    }

    #[test]
    fn unset_fields_are_dropped_and_snake_case_comes_back_as_camel_case() {
        let body = r#"{"supported_interfaces":[{"protocol_binding":"X","url":"u"}],"name":"n","version":"",
            "capabilities":{"streaming":false},"skills":[]}"#;
        let stored = r#"{"name":"n","supportedInterfaces":[{"url":"u","protocolBinding":"X"}],"capabilities":{"streaming":false}}"#;
        assert_eq!(again(body).as_deref(), Some(stored));
        assert_eq!(again("{}").as_deref(), Some("{}"));
    }

    #[test]
    fn a_full_card_survives() {
        let body = concat!(
            r#"{"name":"n","description":"d","supportedInterfaces":[{"url":"u","protocolBinding":"B","tenant":"t","#,
            r#""protocolVersion":"1.0"}],"provider":{"url":"p","organization":"o"},"version":"1","#,
            r#""documentationUrl":"doc","capabilities":{"streaming":true,"pushNotifications":false,"#,
            r#""extensions":[{"uri":"e","required":true,"params":{"a":[1,null]}}],"extendedAgentCard":true},"#,
            r#""securitySchemes":{"k":{"apiKeySecurityScheme":{"location":"header","name":"X"}},"#,
            r#""o":{"oauth2SecurityScheme":{"flows":{"clientCredentials":{"tokenUrl":"t","scopes":{"r":"read"}}}}}},"#,
            r#""securityRequirements":[{"schemes":{"k":{},"o":{"list":["r"]}}}],"defaultInputModes":["text/plain"],"#,
            r#""defaultOutputModes":["text/plain"],"skills":[{"id":"s","name":"S","description":"x","tags":["t"],"#,
            r#""examples":["y"],"inputModes":["a"],"outputModes":["b"]}],"#,
            r#""signatures":[{"protected":"p","signature":"s","header":{"kid":"1"}}],"iconUrl":"i"}"#,
        );
        assert_eq!(again(body).as_deref(), Some(body));
    }

    #[test]
    fn one_field_more_an_array_or_a_repeated_field_is_no_card() {
        for body in [
            r#"{"name":"n","mailbox":"m"}"#,
            r#"{"name":"n","url":"http://x/"}"#,
            r#"{"name":"n","skills":[{"id":"s","x":1}]}"#,
            r#"["n"]"#,
            r#"{"provider":["u","o"]}"#,
            r#"{"name":"n","name":"m"}"#,
            r#"{"iconUrl":"a","icon_url":"b"}"#,
            r#"{"name":5}"#,
            "",
        ] {
            assert_eq!(again(body), None, "{body}");
        }
    }
}
