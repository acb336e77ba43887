//! Comparison of a graph's inputs and outputs with the contract.
//!
//! Input: the inputs and outputs of a loaded graph, and the contract. Output: the names of the input and output to use,
//! or a description of the first mismatch. Invariants: the graph is not run.

use ort::value::{Outlet, TensorElementType, ValueType};

use super::{Contract, Layout, Output};

/// The name of the output of the out-of-domain score, and of its entry in the contract.
pub(super) const OUT_OF_DOMAIN: &str = "ood";

/// What a session needs to know of the graph's input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    pub input: String,
    pub output: String,
    /// The output of real values; `None` where the contract names none.
    pub values: Option<String>,
    /// The output of the out-of-domain score; `None` where the contract has no threshold for it.
    pub out_of_domain: Option<String>,
    /// The sizes of the input's axes after the batch axis.
    pub window_shape: Vec<usize>,
    /// Whether the graph runs one window at a time, because its batch axis has the fixed size 1.
    pub one_window: bool,
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
    let because = format!("layout {}", contract.layout.name());
    let window_shape = check_port(input, "input", &window_shapes(contract), &because)?;
    let output = choose(outputs, contract.output)?;
    check_port(output, "output", &[vec![contract.labels.len()]], "labels")?;
    let values = match contract.values.len() {
        0 => None,
        count => {
            let port = named(outputs, "values")?;
            check_port(port, "output", &[vec![count]], "values")?;
            Some(port)
        }
    };
    let out_of_domain = match contract.out_of_domain {
        None => None,
        Some(_) => {
            let port = named(outputs, OUT_OF_DOMAIN)?;
            check_port(port, "output", &[vec![1], vec![]], OUT_OF_DOMAIN)?;
            Some(port)
        }
    };
    let one_window = fixed_batch(input) == Some(1);
    let mut used = std::iter::once(output).chain(values).chain(out_of_domain);
    let fixed = used.find(|port| fixed_batch(port).is_some());
    if let Some(port) = fixed.filter(|_| !one_window) {
        return Err(format!("output {:?} has a fixed batch size and the input has not", port.name()));
    }
    let (input, output) = (input.name().to_owned(), output.name().to_owned());
    let values = values.map(|port| port.name().to_owned());
    let out_of_domain = out_of_domain.map(|port| port.name().to_owned());
    Ok(Ports { input, output, values, out_of_domain, window_shape, one_window })
}

/// Returns the name of a graph's only input and the shape of one window in it, without the batch axis.
#[cfg(feature = "train")]
pub(super) fn match_input(inputs: &[Outlet], contract: &Contract) -> Result<(String, Vec<usize>), String> {
    let [input] = inputs else {
        return Err(format!("the graph has {} inputs ({}), and must have one", inputs.len(), names(inputs)));
    };
    let because = format!("layout {}", contract.layout.name());
    let shape = check_port(input, "input", &window_shapes(contract), &because)?;
    match fixed_batch(input) {
        None => Ok((input.name().to_owned(), shape)),
        Some(size) => Err(format!(
            "input {:?} has a fixed batch size of {size}: its first axis must be dynamic",
            input.name()
        )),
    }
}

/// Returns the shapes of one window that hold its values in the order of the contract's layout. The first one is the
/// shape that the layout names; the others have the axis of size 1 in another place.
fn window_shapes(contract: &Contract) -> Vec<Vec<usize>> {
    let (rows, columns) = (contract.rows(), contract.coefficients());
    match contract.layout {
        Layout::Ntc => vec![vec![rows, columns]],
        Layout::Nct => vec![vec![columns, rows]],
        Layout::N1tc => vec![vec![1, rows, columns], vec![rows, columns, 1]],
        Layout::N1ct => vec![vec![1, columns, rows], vec![columns, rows, 1]],
        Layout::Ns => vec![vec![rows], vec![1, rows], vec![rows, 1]],
    }
}

/// Returns the size of the batch axis where it is fixed.
fn fixed_batch(port: &Outlet) -> Option<usize> {
    let ValueType::Tensor { shape, .. } = port.dtype() else { return None };
    shape.first().and_then(|size| usize::try_from(*size).ok())
}

/// Chooses the only output, or the one among several whose name, `probabilities` or `logits`, is the contract's `output`.
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

/// Returns the first of the `expected` shapes, which have no batch axis, that the port has. A port whose graph declares
/// no shape is accepted as the first one; the warm-up batch detects where it is another.
fn check_port(
    port: &Outlet,
    side: &str,
    expected: &[Vec<usize>],
    because: &str,
) -> Result<Vec<usize>, String> {
    let name = port.name();
    let wanted = || {
        let shapes = expected.iter().map(|shape| {
            let sizes = shape.iter().map(|size| Some(*size));
            shape_text(&std::iter::once(None).chain(sizes).collect::<Vec<_>>())
        });
        shapes.collect::<Vec<_>>().join(" or ")
    };
    let ValueType::Tensor { ty, shape, .. } = port.dtype() else {
        return Err(format!("{side} {name:?} is {}, and must be a tensor {}", port.dtype(), wanted()));
    };
    if *ty != TensorElementType::Float32 {
        return Err(format!("{side} {name:?} holds {ty}, and must hold 32-bit floats"));
    }
    let Some((batch, sizes)) = shape.split_first() else { return Ok(expected[0].clone()) };
    // A dynamic axis accepts any size here; the warm-up batch detects a size that the graph does not support.
    let fits = |expected: &&Vec<usize>| {
        let same =
            |(size, expected): (&i64, &usize)| usize::try_from(*size).is_err() || *size == *expected as i64;
        sizes.len() == expected.len() && sizes.iter().zip(*expected).all(same)
    };
    let Some(found) = expected.iter().find(fits) else {
        let found = shape_text(&shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Vec<_>>());
        return Err(format!(
            "{side} {name:?} is {found}, and the contract ({because}) requires {}",
            wanted()
        ));
    };
    if *batch >= 0 && *batch != 1 {
        return Err(format!(
            "{side} {name:?} has a fixed batch size of {batch}: its first axis must be dynamic, or 1"
        ));
    }
    Ok(found.clone())
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
