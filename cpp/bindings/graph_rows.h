#pragma once
#include "bindings.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::bindings {

// Return the fields of a layer as a dictionary.
py::dict fields_of(const network::Layer& layer);

// Return a tuple (name, op, inputs, fields) for each node: the argument `nodes` of Network.
py::list graph_rows(const network::Graph& graph);

}  // namespace mnistcnn::bindings
