//! Comparison of a graph's inputs and outputs with the contract.
//!
//! Input: the inputs and outputs of a loaded graph, and the contract. Output: the names of the input and output to use,
//! or a description of the first mismatch. Invariants: the graph is not run.

use ort::value::{Outlet, TensorElementType, ValueType};

use super::{Contract, Layout, Output};

/// The names of the graph's input and output that a session uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    pub input: String,
    pub output: String,
    /// The output of real values; `None` where the contract names none.
    pub values: Option<String>,
}

/// Compares the names, element types, ranks and sizes of the graph's inputs and outputs with the contract.
pub(super) fn match_ports(
    inputs: &[Outlet],
    outputs: &[Outlet],
    contract: &Contract,
) -> Result<Ports, String> {
    let [input] = inputs else {
        return Err(format!("the graph has {} inputs ({}), and must have one", inputs.len(), names(inputs)));
    };
    let input_shape = input_shape(contract);
    fits(input, "input", &input_shape, &format!("layout {}", contract.layout.name()))?;
    let output = choose(outputs, contract.output)?;
    fits(output, "output", &[None, Some(contract.labels.len())], "labels")?;
    let values = match contract.values.len() {
        0 => None,
        count => {
            let port = named(outputs, "values")?;
            fits(port, "output", &[None, Some(count)], "values")?;
            Some(port.name().to_owned())
        }
    };
    Ok(Ports { input: input.name().to_owned(), output: output.name().to_owned(), values })
}

/// Returns the sizes of the input's axes; `None` stands for the batch axis.
pub(super) fn input_shape(contract: &Contract) -> Vec<Option<usize>> {
    let (rows, columns) = (Some(contract.rows()), Some(contract.coefficients()));
    match contract.layout {
        Layout::Ntc => vec![None, rows, columns],
        Layout::Nct => vec![None, columns, rows],
        Layout::N1tc => vec![None, Some(1), rows, columns],
        Layout::N1ct => vec![None, Some(1), columns, rows],
        Layout::Ns => vec![None, rows],
    }
}

/// Chooses the only output, or the one among several that is called `probabilities` or `logits` as the contract says.
fn choose(outputs: &[Outlet], kind: Output) -> Result<&Outlet, String> {
    let wanted = match kind {
        Output::Probabilities => "probabilities",
        Output::Logits => "logits",
    };
    match outputs {
        [only] => Ok(only),
        many => named(many, wanted),
    }
}

fn named<'a>(outputs: &'a [Outlet], wanted: &str) -> Result<&'a Outlet, String> {
    outputs.iter().find(|output| output.name() == wanted).ok_or_else(|| {
        format!(
            "the graph gives {} outputs ({}), and none is called {wanted:?}",
            outputs.len(),
            names(outputs)
        )
    })
}

fn fits(port: &Outlet, side: &str, expected: &[Option<usize>], because: &str) -> Result<(), String> {
    let name = port.name();
    let wanted = shape_text(expected);
    let ValueType::Tensor { ty, shape, .. } = port.dtype() else {
        return Err(format!("{side} {name:?} is {}, and must be a tensor {wanted}", port.dtype()));
    };
    if *ty != TensorElementType::Float32 {
        return Err(format!("{side} {name:?} holds {ty}, and must hold 32-bit floats"));
    }
    let found = shape_text(&shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Vec<_>>());
    if shape.len() != expected.len() {
        return Err(format!("{side} {name:?} is {found}, and the contract ({because}) requires {wanted}"));
    }
    if shape[0] >= 0 {
        return Err(format!(
            "{side} {name:?} has a fixed batch size of {}: its first axis must be dynamic",
            shape[0]
        ));
    }
    // A dynamic axis accepts any size here; the warm-up batch detects a size that the graph does not support.
    let sizes_fit = shape
        .iter()
        .zip(expected)
        .skip(1)
        .all(|(size, expected)| usize::try_from(*size).map_or(true, |size| Some(size) == *expected));
    if !sizes_fit {
        return Err(format!("{side} {name:?} is {found}, and the contract ({because}) requires {wanted}"));
    }
    Ok(())
}

fn names(ports: &[Outlet]) -> String {
    ports.iter().map(Outlet::name).collect::<Vec<_>>().join(", ")
}

/// Formats a shape as in `[batch, 297, 40]`; a dynamic axis other than the first is `?`.
fn shape_text(shape: &[Option<usize>]) -> String {
    let axis = |(index, size): (usize, &Option<usize>)| match (index, size) {
        (_, Some(size)) => size.to_string(),
        (0, None) => "batch".to_owned(),
        (_, None) => "?".to_owned(),
    };
    format!("[{}]", shape.iter().enumerate().map(axis).collect::<Vec<_>>().join(", "))
}
