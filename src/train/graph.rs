//! A builder of ONNX graphs: each call adds one node and returns the name of its output.
//!
//! Input: operators, names of values, and constants. Output: a [`ModelProto`] with operator set 17 and IR version 8.
//! Invariants: shapes are not checked here; `onnx.checker` and ONNX Runtime check the exported file.

use super::onnx::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto, Dimension, DimensionValue, FLOAT, GraphProto, INT64,
    ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// The operator set of exported graphs.
pub(super) const OPSET: i64 = 17;
/// The IR version of exported files.
const IR_VERSION: i64 = 8;

/// An ONNX graph under construction.
#[derive(Debug, Default)]
pub struct Graph {
    /// The start of the names of all nodes and constants that are added by operator.
    prefix: String,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Graph {
    /// Creates a graph whose own names begin with `prefix`, so that they differ from those of [`Self::include`]d nodes.
    pub fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// Adds a node and returns the name of its output.
    pub fn op(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.op_with(op_type, inputs, Vec::new())
    }

    /// Adds a node with attributes and returns the name of its output.
    pub fn op_with(&mut self, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("{}{}_{}", self.prefix, op_type.to_lowercase(), self.nodes.len());
        self.named(&name, op_type, inputs, attribute)
    }

    /// Adds a node whose output is called `name`, and returns the name.
    pub fn named(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&it| it.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            ..NodeProto::default()
        });
        name.to_owned()
    }

    /// Adds a constant tensor of 32-bit floats and returns its name.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "shape of constant {name}");
        self.constant(name, FLOAT, dims, values.iter().flat_map(|it| it.to_le_bytes()).collect())
    }

    /// Adds a constant vector of 64-bit integers and returns its name.
    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, INT64, &[values.len()], values.iter().flat_map(|it| it.to_le_bytes()).collect())
    }

    fn constant(&mut self, name: &str, data_type: i32, dims: &[usize], raw_data: Vec<u8>) -> String {
        let name = format!("{}{name}_{}", self.prefix, self.constants.len());
        let dims = dims.iter().map(|&size| size as i64).collect();
        let own = name.clone();
        self.constants.push(TensorProto { dims, data_type, name: own, raw_data, ..TensorProto::default() });
        name
    }

    /// Moves all nodes and constants of another graph into this one, with their names.
    pub fn include(&mut self, other: GraphProto) {
        self.nodes.extend(other.node);
        self.constants.extend(other.initializer);
    }

    /// Copies all nodes of another graph into this one, with prefixed names and its input replaced by the value `input`.
    /// Returns the name of the other graph's output.
    pub fn inline(&mut self, other: GraphProto, prefix: &str, input: &str) -> String {
        let outer = other.input.first().map_or("", |it| it.name.as_str()).to_owned();
        let renamed = |name: &String| match name.as_str() {
            // An empty name stands for an omitted optional input.
            "" => String::new(),
            name if name == outer => input.to_owned(),
            name => format!("{prefix}_{name}"),
        };
        self.nodes.extend(other.node.into_iter().map(|node| NodeProto {
            input: node.input.iter().map(renamed).collect(),
            output: node.output.iter().map(renamed).collect(),
            name: format!("{prefix}_{}", node.name),
            ..node
        }));
        let constants = other.initializer.into_iter();
        self.constants.extend(constants.map(|it| TensorProto { name: renamed(&it.name), ..it }));
        other.output.first().map(|it| renamed(&it.name)).unwrap_or_default()
    }

    /// Completes the graph: the value `last` becomes the output, and input and output get their shapes.
    pub fn finish(mut self, last: &str, input: Port, output: Port, metadata: (&str, String)) -> ModelProto {
        self.named(&output.name, "Identity", &[last], Vec::new());
        let graph = GraphProto {
            node: self.nodes,
            name: "affectd".into(),
            initializer: self.constants,
            input: vec![input.into()],
            output: vec![output.into()],
        };
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "affectd".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: vec![StringStringEntryProto { key: metadata.0.to_owned(), value: metadata.1 }],
            ..ModelProto::default()
        }
    }
}

/// An input or output of 32-bit floats, with a dynamic first axis `batch` and fixed sizes after it.
#[derive(Debug)]
pub struct Port {
    /// The name.
    pub name: String,
    /// The sizes of the axes after `batch`.
    pub sizes: Vec<usize>,
}

impl From<Port> for ValueInfoProto {
    fn from(port: Port) -> Self {
        let batch = DimensionValue::Name("batch".into());
        let sizes = port.sizes.iter().map(|&size| DimensionValue::Size(size as i64));
        let dim = std::iter::once(batch).chain(sizes).map(|value| Dimension { value: Some(value) }).collect();
        let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
        ValueInfoProto { name: port.name, r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    }
}

/// Creates an attribute with one integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(value), r#type: ATTRIBUTE_INT, ..Default::default() }
}

/// Creates an attribute with a list of integers.
pub fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&it| it as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: ATTRIBUTE_INTS, ..Default::default() }
}
