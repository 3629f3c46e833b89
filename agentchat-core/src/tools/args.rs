//! Arguments that are a type.

use serde::de::DeserializeOwned;

use super::schema::ToolSchema;
use crate::error::Result;

/// The arguments of a tool: a type that is read from JSON and can say what that JSON must be.
/// [`tool_args!`](crate::tool_args) implements it.
pub trait ToolArgs: DeserializeOwned + Send + 'static {
    /// What the JSON must be.
    ///
    /// # Errors
    /// As [`ToolSchema::from_json`].
    fn schema() -> Result<ToolSchema>;
}

/// Makes a type the arguments of a tool, with a schema that follows from it. The type derives
/// `serde::Deserialize` and `schemars::JsonSchema` (of schemars 1, a dependency of the crate that says this),
/// and `#[serde(deny_unknown_fields)]`, as a schema must be closed. Rules among its members follow the type:
///
/// ```
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct History {
///     conversation_id: Option<String>,
///     peer_handle: Option<String>,
///     #[schemars(range(min = 1, max = 200))]
///     limit: Option<u32>,
/// }
/// agentchat_core::tool_args!(History, with_exactly_one_of("conversation_id", "peer_handle"));
/// ```
#[macro_export]
macro_rules! tool_args {
    ($type:ty $(, $rule:ident($($name:literal),+ $(,)?))* $(,)?) => {
        impl $crate::tools::ToolArgs for $type {
            fn schema() -> $crate::Result<$crate::tools::ToolSchema> {
                let settings = ::schemars::generate::SchemaSettings::draft2020_12()
                    .with(|settings| settings.inline_subschemas = true);
                let schema = settings.into_generator().into_root_schema_for::<$type>();
                let schema = $crate::tools::ToolSchema::from_json(&schema.as_value().to_string())?;
                $(let schema = schema.$rule(&[$($name),+])?;)*
                ::core::result::Result::Ok(schema)
            }
        }
    };
}
