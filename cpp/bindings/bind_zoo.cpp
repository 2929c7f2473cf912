#include "bindings.h"
#include "graph_rows.h"
#include "mnistcnn/zoo/zoo.h"

namespace mnistcnn::bindings {
namespace {

py::dict entry_row(const zoo::Entry& entry) {
  const zoo::Citation& from = entry.citation;
  py::dict citation;
  citation["project"] = from.project;
  citation["session"] = from.session;
  citation["file"] = from.file;
  citation["url"] = from.url;
  py::dict row;
  row["name"] = entry.name;
  row["description"] = entry.description;
  row["citation"] = citation;
  row["normalization"] = py::make_tuple(entry.normalization.mean, entry.normalization.deviation);
  return row;
}

py::list zoo_list() {
  py::list rows;
  for (const zoo::Entry& entry : zoo::entries()) rows.append(entry_row(entry));
  return rows;
}

py::list zoo_create(const std::string& name, std::int64_t classes, std::int64_t channels) {
  return graph_rows(zoo::create(name, classes, channels));
}

}  // namespace

void bind_zoo(py::module_& module) {
  module.def("zoo_list", &zoo_list);
  module.def("zoo_create", &zoo_create, py::arg("name"), py::kw_only(), py::arg("classes"), py::arg("channels"));
}

}  // namespace mnistcnn::bindings
