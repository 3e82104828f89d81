//! Arrays, as bash has them: `items=(a b c)`, `items[1]=x`, `${items[1]}`, `"${items[@]}"`, `${#items[@]}`.

use brush_parser::{
    ast::{AssignmentName, AssignmentValue},
    word::Parameter,
};

use super::{
    evaluate::{Shell, Variable},
    streams::Streams,
};

/// The most elements of an array.
const MAX_ELEMENTS: usize = 10_000;

impl Shell {
    /// Assigns an array, or one element of it.
    pub async fn assign_elements(
        &mut self,
        name: &AssignmentName,
        value: &AssignmentValue,
        append: bool,
        streams: &Streams,
    ) {
        match (name, value) {
            (AssignmentName::VariableName(name), AssignmentValue::Array(words)) => {
                let words: Vec<_> = words.iter().map(|(_, word)| word.clone()).collect();
                let mut elements = if append { self.elements(name) } else { Vec::new() };
                elements.extend(self.words(&words, streams).await);
                self.set_elements(name, elements);
            }
            (AssignmentName::ArrayElementName(name, index), AssignmentValue::Scalar(word)) => {
                let value = self.text(word, streams).await;
                let Some(index) = self.index(index, streams).await.filter(|index| *index < MAX_ELEMENTS) else {
                    let _ =
                        streams.stderr.print(format!("{}: {name}[{index}]: bad array subscript\n", self.name)).await;
                    self.status = 1;
                    return;
                };
                let mut elements = self.elements(name);
                if elements.len() <= index {
                    elements.resize(index + 1, String::new());
                }
                elements[index] = if append { elements[index].clone() + &value } else { value };
                self.set_elements(name, elements);
            }
            (AssignmentName::ArrayElementName(..), AssignmentValue::Array(_))
            | (AssignmentName::VariableName(_), AssignmentValue::Scalar(_)) => {}
        }
    }

    /// The elements of an array; a plain variable is one of one element.
    pub fn elements(&self, name: &str) -> Vec<String> {
        let of = |variable: &Variable| std::iter::once(&variable.value).chain(&variable.more).cloned().collect();
        self.variables.get(name).map(of).unwrap_or_default()
    }

    /// Makes a variable an array.
    pub fn set_elements(&mut self, name: &str, mut elements: Vec<String>) {
        elements.truncate(MAX_ELEMENTS);
        if elements.is_empty() {
            self.variables.remove(name);
            return;
        }
        let variable = self.variables.entry(name.to_owned()).or_default();
        variable.value = elements.remove(0);
        variable.more = elements;
    }

    /// A parameter whose index, if it has one, is a number.
    pub async fn resolved(&mut self, parameter: Parameter, streams: &Streams) -> Parameter {
        let Parameter::NamedWithIndex { name, index } = parameter else { return parameter };
        let index = self.index(&index, streams).await.map(|index| index.to_string()).unwrap_or_default();
        Parameter::NamedWithIndex { name, index }
    }

    async fn index(&mut self, text: &str, streams: &Streams) -> Option<usize> {
        let text = self.expand_text(text, streams).await.text();
        self.calculate(&text).and_then(|index| usize::try_from(index).ok())
    }
}
