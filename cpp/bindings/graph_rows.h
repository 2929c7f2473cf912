#pragma once
#include "bindings.h"
#include "mnistcnn/network/graph.h"

namespace mnistcnn::bindings {

// The fields of a layer by their names.
py::dict fields_of(const network::Layer& layer);

// A tuple (name, op, inputs, fields) for each node, as Network takes them.
py::list graph_rows(const network::Graph& graph);

}  // namespace mnistcnn::bindings
